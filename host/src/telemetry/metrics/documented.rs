//! The table of docs/operate/metrics.md.

#![allow(clippy::unwrap_used)]

use prometheus::core::Collector;
use prometheus::proto::MetricType;

use super::Metrics;
use crate::telemetry::documented::{hold, table};

#[test]
fn every_metric_is_documented() {
    let (_, families) = Metrics::registered().unwrap();
    let mut rows: Vec<_> = families.iter().flat_map(|family| rows(&**family)).collect();
    rows.sort();
    assert!(rows.windows(2).all(|two| two[0][0] != two[1][0]), "a row for each name");
    let table = table(["Metric", "Type", "Labels", ""], rows.into_iter());
    hold("operate/metrics.md", "metrics", &table);
}

fn rows(family: &dyn Collector) -> Vec<[String; 4]> {
    let kinds = family.collect().into_iter().map(|family| match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{} is of another type: {other:?}", family.name()),
    });
    let described = family.desc().into_iter().zip(kinds);
    let row = described.map(|(desc, kind)| {
        let labels = desc.variable_labels.join(", ");
        [format!("`{}`", desc.fq_name), kind.into(), labels, desc.help.clone()]
    });
    row.collect()
}
