//! Every figure of the box as Prometheus reads it (OpenMetrics text). The rooms name and
//! explain their figures themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;

use iq::Figure;
use media::Discard;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use transport::flow::Ending;
use transport::http::Refusal;

use super::{About, Snapshot, Sources};
use crate::causes::{BOX, Ends};

/// The whole page.
pub(super) fn exposition(
    about: &About,
    sources: &Sources,
    snapshot: &Snapshot,
    ends: &Ends,
) -> Result<String, fmt::Error> {
    let mut families = box_families(about, sources, snapshot);
    families.extend(families_of_rooms(sources, snapshot));
    families.extend(ends_families(ends));
    let mut registry = Registry::with_prefix("gatehouse");
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// One name with its samples.
#[derive(Debug)]
struct Family {
    name: String,
    help: String,
    is_gauge: bool,
    samples: Vec<(Option<(&'static str, String)>, u64)>,
}

fn families_of_rooms(sources: &Sources, snapshot: &Snapshot) -> Vec<Family> {
    let mut families = Vec::new();
    add(&mut families, "access", None, sources.access.figures());
    let refusals = Refusal::ALL.iter().map(Refusal::to_string);
    let refusals = refusals.zip(sources.access.refusals.0.iter().map(|count| count.value()));
    families.push(by_reason(
        "access_refusals",
        "Requests turned away.",
        refusals,
    ));
    let endings = Ending::ALL.iter().map(Ending::to_string);
    let endings = endings.zip(sources.access.endings.0.iter().map(|count| count.value()));
    families.push(by_reason(
        "access_flow_endings",
        "WebSockets that ended.",
        endings,
    ));
    add(&mut families, "ims", None, sources.ims.figures());
    if let Some(snapshot) = &snapshot.signaling {
        add(
            &mut families,
            "signaling",
            None,
            snapshot.signaling.figures(),
        );
    }
    for (index, worker) in &snapshot.workers {
        let label = Some(("worker", index.to_string()));
        add(
            &mut families,
            "media",
            label.clone(),
            worker.media.figures(),
        );
        add(&mut families, "worker", label, worker.worker.figures());
    }
    let discarded = Discard::ALL.iter().map(|&reason| {
        let workers = snapshot.workers.iter();
        let sum = workers
            .map(|(_, worker)| worker.media.discarded.of(reason))
            .sum();
        (reason.to_string(), sum)
    });
    families.push(by_reason(
        "media_discarded",
        "Packets thrown away.",
        discarded,
    ));
    families
}

/// Why the box and its programs ended, as far back as that is written down.
fn ends_families(ends: &Ends) -> [Family; 2] {
    let sums = |of_box: bool| {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for ((unit, cause), count) in &ends.counts {
            if (unit == BOX) == of_box {
                *sums.entry(cause.label()).or_default() += count;
            }
        }
        let sums = sums.into_iter();
        sums.map(|(cause, sum)| (cause.to_owned(), sum))
    };
    [
        by_reason("box_ends", "Times that the whole box ended.", sums(true)),
        by_reason(
            "service_ends",
            "Times that one of the box's services ended badly.",
            sums(false),
        ),
    ]
}

/// Figures of the program itself.
fn box_families(about: &About, sources: &Sources, snapshot: &Snapshot) -> Vec<Family> {
    let gauge = |name: &str, help: &str, value: u64| Family {
        name: name.to_owned(),
        help: help.to_owned(),
        is_gauge: true,
        samples: vec![(None, value)],
    };
    let verdict = about.health.verdict(std::time::Instant::now());
    let mut families = vec![
        gauge(
            "uptime_seconds",
            "Time since the start.",
            about.started_at.elapsed().as_secs(),
        ),
        gauge(
            "ready",
            "1 if new calls are taken.",
            u64::from(verdict.unready.is_empty()),
        ),
        gauge(
            "state_kept",
            "1 if registrations and calls are kept over a restart.",
            u64::from(sources.store.is_open()),
        ),
        Family {
            is_gauge: false,
            ..gauge(
                "state_failures",
                "Times that the kept state could not be read or written.",
                sources.store.failures(),
            )
        },
        gauge(
            "media_plane_up",
            "1 if the media plane answers.",
            u64::from(!snapshot.workers.is_empty()),
        ),
        Family {
            is_gauge: false,
            ..gauge(
                "media_plane_losses",
                "Times that a media plane in a process of its own went away.",
                sources.media_losses.load(Ordering::Relaxed),
            )
        },
        Family {
            is_gauge: false,
            ..gauge(
                "call_records_lost",
                "Call records that could not be written.",
                sources.recorder.lost(),
            )
        },
    ];
    let celsius = sources.temperature.celsius();
    if let Some(celsius) = celsius.and_then(|celsius| u64::try_from(celsius).ok()) {
        families.push(gauge(
            "temperature_celsius",
            "How hot the board is.",
            celsius,
        ));
    }
    if let Some(snapshot) = &snapshot.signaling {
        families.push(gauge(
            "ims_ports_left",
            "Port numbers towards the IMS that are left for users.",
            snapshot.ports_left as u64,
        ));
    }
    families
}

/// Adds a room's figures, or one more worker's to those that are there.
fn add(
    families: &mut Vec<Family>,
    room: &str,
    label: Option<(&'static str, String)>,
    figures: Vec<Figure>,
) {
    for figure in figures {
        let name = format!("{room}_{}", figure.name);
        let sample = (label.clone(), figure.value);
        match families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.samples.push(sample),
            None => families.push(Family {
                name,
                help: figure.help.to_owned(),
                is_gauge: figure.is_gauge,
                samples: vec![sample],
            }),
        }
    }
}

fn by_reason(name: &str, help: &str, samples: impl Iterator<Item = (String, u64)>) -> Family {
    Family {
        name: name.to_owned(),
        help: help.to_owned(),
        is_gauge: false,
        samples: samples
            .map(|(reason, value)| (Some(("reason", reason)), value))
            .collect(),
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let help = family.help.trim_end_matches('.');
            let kind = family.metric_type();
            let metric = encoder.encode_descriptor(&family.name, help, None, kind)?;
            EncodeMetric::encode(family, metric)?;
        }
        Ok(())
    }
}

impl Family {
    fn encode_sample(&self, mut encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
        if self.is_gauge {
            encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
        } else {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
    }
}

impl EncodeMetric for Family {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (label, value) in &self.samples {
            match label {
                Some(label) => {
                    let labels = [label.clone()];
                    self.encode_sample(encoder.encode_family(&labels)?, *value)?;
                }
                // A family without labels has one sample, and ends with it.
                None => return self.encode_sample(encoder, *value),
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        if self.is_gauge {
            MetricType::Gauge
        } else {
            MetricType::Counter
        }
    }
}
