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
use transport::crypto::{Calibration, Engine, profile_name};
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

/// What tells a family's samples apart.
type Labels = Vec<(&'static str, String)>;

/// One name with its samples.
#[derive(Debug)]
struct Family {
    name: String,
    help: String,
    is_gauge: bool,
    samples: Vec<(Labels, u64)>,
}

fn families_of_rooms(sources: &Sources, snapshot: &Snapshot) -> Vec<Family> {
    let mut families = Vec::new();
    add(
        &mut families,
        "access",
        Labels::new(),
        sources.access.figures(),
    );
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
    add(&mut families, "ims", Labels::new(), sources.ims.figures());
    if let Some(snapshot) = &snapshot.signaling {
        add(
            &mut families,
            "signaling",
            Labels::new(),
            snapshot.signaling.figures(),
        );
    }
    for (index, worker) in &snapshot.workers {
        let label = vec![("worker", index.to_string())];
        add(
            &mut families,
            "media",
            label.clone(),
            worker.media.figures(),
        );
        add(&mut families, "worker", label, worker.worker.figures());
    }
    families.extend(crypto_families(&snapshot.crypto));
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
        samples: vec![(Labels::new(), value)],
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

/// What the engines cost that seal and open packets, and which of them does it.
fn crypto_families(calibration: &Calibration) -> Vec<Family> {
    let mut costs = Vec::new();
    let mut choices = Vec::new();
    for figure in &calibration.figures {
        for (engine, cost) in [
            (Engine::Cpu, Some(figure.cpu)),
            (Engine::Kernel, figure.kernel),
        ] {
            let labels = vec![
                ("engine", engine.name().to_owned()),
                ("profile", profile_name(figure.profile).to_owned()),
                ("operation", figure.operation.name().to_owned()),
                ("size", figure.size.to_string()),
            ];
            let is_chosen = figure.chosen == engine;
            if is_chosen || cost.is_some() {
                choices.push((labels.clone(), u64::from(is_chosen)));
            }
            costs.extend(cost.map(|cost| (labels, cost)));
        }
    }
    let family = |name: &str, help: &str, samples| Family {
        name: name.to_owned(),
        help: help.to_owned(),
        is_gauge: true,
        samples,
    };
    vec![
        family(
            "crypto_nanoseconds",
            "What sealing or opening an RTP packet of this size took each engine at start.",
            costs,
        ),
        family(
            "crypto_chosen",
            "1 for the engine that seals or opens packets of this size.",
            choices,
        ),
    ]
}

/// Adds a room's figures, or one more worker's to those that are there.
fn add(families: &mut Vec<Family>, room: &str, labels: Labels, figures: Vec<Figure>) {
    for figure in figures {
        let name = format!("{room}_{}", figure.name);
        let sample = (labels.clone(), figure.value);
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
            .map(|(reason, value)| (vec![("reason", reason)], value))
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
        for (labels, value) in &self.samples {
            if labels.is_empty() {
                // A family without labels has one sample, and ends with it.
                return self.encode_sample(encoder, *value);
            }
            self.encode_sample(encoder.encode_family(labels)?, *value)?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use transport::crypto::{Figure, Operation};

    use super::*;

    #[test]
    fn both_engines_and_the_choice_between_them_are_shown() {
        let figure = |size, kernel, chosen| Figure {
            profile: iq::SrtpProfile::AeadAes128Gcm,
            operation: Operation::Seal,
            size,
            cpu: 130,
            kernel,
            chosen,
        };
        let calibration = Calibration {
            figures: vec![
                figure(172, Some(1900), Engine::Cpu),
                figure(1200, Some(90), Engine::Kernel),
                figure(60, None, Engine::Cpu),
                figure(250, None, Engine::Kernel),
            ],
            ..Calibration::default()
        };
        let mut registry = Registry::with_prefix("gatehouse");
        registry.register_collector(Box::new(Families(crypto_families(&calibration))));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();

        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let of = |family: &str, engine: &str, size: u16, value: u64| {
            format!(
                "gatehouse_crypto_{family}{{engine=\"{engine}\",profile=\"gcm128\",\
                 operation=\"seal\",size=\"{size}\"}} {value}"
            )
        };
        assert_eq!(
            samples,
            [
                of("nanoseconds", "cpu", 172, 130),
                of("nanoseconds", "kernel", 172, 1900),
                of("nanoseconds", "cpu", 1200, 130),
                of("nanoseconds", "kernel", 1200, 90),
                of("nanoseconds", "cpu", 60, 130),
                of("nanoseconds", "cpu", 250, 130),
                of("chosen", "cpu", 172, 1),
                of("chosen", "kernel", 172, 0),
                of("chosen", "cpu", 1200, 0),
                of("chosen", "kernel", 1200, 1),
                of("chosen", "cpu", 60, 1),
                of("chosen", "cpu", 250, 0),
                of("chosen", "kernel", 250, 1),
            ]
        );
    }
}
