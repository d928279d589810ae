//! A calibration as technicians read it.

use std::fmt::Write as _;

use media::crypto::PROFILES;

use super::calibration::{Calibration, Engine, Figure, Operation, SIZES, profile_name};

impl Calibration {
    /// A table: a line for each profile, operation and engine, a star at what was chosen.
    #[must_use]
    pub fn table(&self) -> Vec<String> {
        let mut head = format!("{:<20}", "ns for a packet of");
        for size in SIZES {
            let _ = write!(head, "{size:>9} ");
        }
        let mut lines = vec![head + "octets; * is used"];
        for profile in PROFILES {
            for operation in Operation::ALL {
                let is_ours = |it: &&Figure| it.profile == profile && it.operation == operation;
                let figures: Vec<&Figure> = self.figures.iter().filter(is_ours).collect();
                let name = format!("{} {}", profile_name(profile), operation.name());
                lines.push(line(&name, Engine::Cpu, &figures));
                let is_seen = |it: &&Figure| it.kernel.is_some() || it.chosen == Engine::Kernel;
                if figures.iter().any(is_seen) {
                    lines.push(line(&name, Engine::Kernel, &figures));
                }
            }
        }
        lines
    }

    /// How many of the kinds of packets the kernel is used for, and how many there are.
    #[must_use]
    pub fn kernel_share(&self) -> (usize, usize) {
        let chosen = |figure: &&Figure| figure.chosen == Engine::Kernel;
        (
            self.figures.iter().filter(chosen).count(),
            self.figures.len(),
        )
    }

    /// Kinds of packets for which the kernel is used although it is slower.
    #[must_use]
    pub fn losses(&self) -> usize {
        let loses = |figure: &&Figure| {
            figure.chosen == Engine::Kernel && figure.kernel.is_some_and(|it| it > figure.cpu)
        };
        self.figures.iter().filter(loses).count()
    }
}

fn line(name: &str, engine: Engine, figures: &[&Figure]) -> String {
    let mut line = format!("{name:<13}{:<7}", engine.name());
    for figure in figures {
        let nanoseconds = match engine {
            Engine::Cpu => Some(figure.cpu),
            Engine::Kernel => figure.kernel,
        };
        let text = nanoseconds.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let star = if figure.chosen == engine { '*' } else { ' ' };
        let _ = write!(line, "{text:>9}{star}");
    }
    line.truncate(line.trim_end().len());
    line
}

/// The CPU's instructions that AES, GCM and SHA-1 gain from, as its maker calls them.
pub(super) fn cpu_features() -> String {
    #[cfg(target_arch = "aarch64")]
    let known = [
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha1", std::arch::is_aarch64_feature_detected!("sha2")),
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
    ];
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        (
            "pclmulqdq",
            std::arch::is_x86_feature_detected!("pclmulqdq"),
        ),
        ("sha", std::arch::is_x86_feature_detected!("sha")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
    ];
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
    let known: [(&str, bool); 0] = [];
    let there: Vec<&str> = known
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
        .collect();
    if there.is_empty() {
        return "no instructions for AES".to_owned();
    }
    there.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_both_engines_and_who_is_used() {
        let mut calibration = Calibration::default();
        for profile in PROFILES {
            for operation in Operation::ALL {
                calibration.figures.extend(SIZES.map(|size| Figure {
                    profile,
                    operation,
                    size,
                    cpu: 100 + size as u64,
                    kernel: (profile == PROFILES[0]).then_some(900),
                    chosen: if profile == PROFILES[0] && size == 1200 {
                        Engine::Kernel
                    } else {
                        Engine::Cpu
                    },
                }));
            }
        }
        let table = calibration.table();
        assert_eq!(table.len(), 9);
        assert_eq!(
            table[..4],
            [
                "ns for a packet of         60       172       250       600      1200 \
                 octets; * is used",
                "gcm128 seal  cpu          160*      272*      350*      700*     1300",
                "gcm128 seal  kernel       900       900       900       900       900*",
                "gcm128 open  cpu          160*      272*      350*      700*     1300",
            ]
        );
        assert_eq!(calibration.kernel_share(), (2, 30));
        assert_eq!(calibration.losses(), 0);
    }
}
