//! What an exporter on this thread has been told.

use std::cell::RefCell;
use std::collections::BTreeMap;

use axum_isr::Isr;
use metrics::LocalRecorderGuard;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// An exporter for this thread, until it is dropped. Series are written `name{label=value,…}`.
pub struct Watch {
    snapshotter: Snapshotter,
    told: RefCell<Told>,
    _guard: LocalRecorderGuard<'static>,
}

#[derive(Default)]
struct Told {
    counts: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    samples: BTreeMap<String, Vec<f64>>,
}

impl Watch {
    pub fn new() -> Self {
        let recorder: &'static DebuggingRecorder = Box::leak(Box::default());
        let snapshotter = recorder.snapshotter();
        Self { snapshotter, told: RefCell::default(), _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// A snapshot starts everything from zero: what is told are differences. (Of a gauge that is set, only the first
    /// look is worth something.)
    fn look<R>(&self, at: impl FnOnce(&Told) -> R) -> R {
        let mut told = self.told.borrow_mut();
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let series = match labels.as_slice() {
                [] => key.key().name().to_owned(),
                labels => format!("{}{{{}}}", key.key().name(), labels.join(",")),
            };
            match value {
                DebugValue::Counter(more) => *told.counts.entry(series).or_default() += more,
                DebugValue::Gauge(more) => *told.gauges.entry(series).or_default() += more.into_inner(),
                DebugValue::Histogram(more) => {
                    told.samples.entry(series).or_default().extend(more.iter().map(|sample| **sample));
                }
            }
        }
        at(&told)
    }

    /// All series of a counter that are not zero, by their labels.
    pub fn counts(&self, name: &str) -> Vec<(String, u64)> {
        let labels = |series: &str| Some(series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?.to_owned());
        self.look(|told| {
            let all = told.counts.iter().filter(|(_, count)| **count > 0);
            all.filter_map(|(series, count)| Some((labels(series)?, *count))).collect()
        })
    }

    /// Of a counter; zero if nothing was counted.
    pub fn count(&self, series: &str) -> u64 {
        self.look(|told| told.counts.get(series).copied().unwrap_or_default())
    }

    /// `None`: nobody has told it.
    pub fn gauge(&self, series: &str) -> Option<f64> {
        self.look(|told| told.gauges.get(series).copied())
    }

    /// Everything that a histogram was told, the smallest first.
    pub fn samples(&self, series: &str) -> Vec<f64> {
        let mut samples = self.look(|told| told.samples.get(series).cloned()).unwrap_or_default();
        samples.sort_by(f64::total_cmp);
        samples
    }

    /// The names of all series there are.
    pub fn series(&self) -> Vec<String> {
        self.look(|told| told.counts.keys().chain(told.gauges.keys()).chain(told.samples.keys()).cloned().collect())
    }

    /// Renders that run.
    pub fn in_flight(&self) -> Option<f64> {
        self.gauge("isr_renders_in_flight")
    }

    /// What the gauges say that memory holds, and the numbers of these handles together.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
    pub fn held(&self, handles: &[&Isr]) -> ([f64; 2], [f64; 2]) {
        let gauges = ["isr_memory_bytes", "isr_memory_entries"].map(|name| self.gauge(name).unwrap_or_default());
        let stats = handles.iter().map(|isr| isr.stats());
        let [bytes, entries] = stats
            .fold([0, 0], |[bytes, entries], stats| [bytes + stats.memory_bytes, entries + stats.memory_items as u64]);
        (gauges, [bytes as f64, entries as f64])
    }
}

/// The same to a reader of the test.
pub fn counted(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    let mut expected: Vec<_> = expected.iter().map(|(labels, count)| ((*labels).to_owned(), *count)).collect();
    expected.sort();
    expected
}
