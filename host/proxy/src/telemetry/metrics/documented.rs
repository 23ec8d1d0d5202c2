//! The table of docs/operate/metrics.md.

#![allow(clippy::unwrap_used)]

use prometheus::core::Collector;
use prometheus::proto::MetricType;

use super::Metrics;
use super::families::{self, Family};
use crate::telemetry::documented::{hold, table};

#[test]
fn every_metric_is_documented() {
    let (_, registered) = Metrics::registered().unwrap();
    let of_process = registered.iter().flat_map(|family| rows(&**family));
    let of_fleet = families::all().map(row);
    let mut rows: Vec<_> = of_process.chain(of_fleet).collect();
    rows.sort();
    assert!(rows.windows(2).all(|two| two[0][0] != two[1][0]), "a row for each name");
    let table = table(["Metric", "Type", "Labels", ""], rows.into_iter());
    hold("operate/metrics.md", "metrics", &table);
}

fn rows(family: &dyn Collector) -> Vec<[String; 4]> {
    let kinds = family.collect().into_iter().map(|family| kind(family.get_field_type()));
    let described = family.desc().into_iter().zip(kinds);
    let row = described.map(|(desc, kind)| {
        let labels = desc.variable_labels.join(", ");
        [format!("`{}`", desc.fq_name), kind.into(), labels, desc.help.clone()]
    });
    row.collect()
}

fn row(family: &Family) -> [String; 4] {
    let Family { name, help, labels, .. } = family;
    [format!("`{name}`"), family.kind.as_str().into(), labels.join(", "), (*help).into()]
}

fn kind(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("a metric of another type: {other:?}"),
    }
}
