//! Samples of one family, as the encoder of the `prometheus` crate takes them.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use fleet::Durations;

/// The samples of a family whose labels have these names.
pub(super) struct Samples {
    kind: MetricType,
    labels: &'static [&'static str],
    metrics: Vec<Metric>,
}

impl Samples {
    pub(super) fn new(kind: MetricType, labels: &'static [&'static str]) -> Self {
        Self { kind, labels, metrics: Vec::new() }
    }

    /// Adds a number. The values are those of the family's labels, in their order.
    pub(super) fn add(&mut self, values: &[&str], number: f64) {
        let mut metric = self.metric(values);
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(number);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(number);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// Adds a count.
    pub(super) fn count(&mut self, values: &[&str], count: u64) {
        #[expect(clippy::cast_precision_loss, reason = "the text format has floats")]
        self.add(values, count as f64);
    }

    /// Adds a histogram.
    pub(super) fn durations(&mut self, values: &[&str], durations: &Durations) {
        let mut metric = self.metric(values);
        let (cumulative, mut histogram) = (durations.cumulative(), Histogram::default());
        let bucket = |(bound, count): (&f64, &u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        };
        histogram.set_bucket(Durations::BOUNDS.iter().zip(&cumulative).map(bucket).collect());
        histogram.set_sample_count(cumulative[Durations::BOUNDS.len()]);
        histogram.set_sample_sum(durations.seconds());
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// The family. None: it has no samples, which the encoder refuses.
    pub(super) fn family(self, name: &str, help: &str) -> Option<MetricFamily> {
        if self.metrics.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.metrics);
        Some(family)
    }

    fn metric(&self, values: &[&str]) -> Metric {
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut pairs: Vec<LabelPair> = self.labels.iter().zip(values).map(pair).collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        Metric::from_label(pairs)
    }
}
