//! Counters that name and explain themselves, so that no figure of a room can be
//! forgotten where figures are shown.

/// One figure of a room at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The field's name.
    pub name: &'static str,
    /// The first line of its documentation.
    pub help: &'static str,
    /// Whether it goes down again. Its documentation then begins with "Gauge:".
    pub is_gauge: bool,
    /// How much it is.
    pub value: u64,
}

/// A field that may be a figure.
pub trait Countable {
    /// Its value, if it is one.
    fn figure(&self) -> Option<u64>;
}

impl Countable for u64 {
    fn figure(&self) -> Option<u64> {
        Some(*self)
    }
}

/// Defines a struct of counters with a method `figures` that lists them all.
#[macro_export]
macro_rules! counters {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                #[doc = $help:literal]
                $(#[doc = $more:literal])*
                $field_vis:vis $field:ident: $type:ty,
            )*
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $(
                #[doc = $help]
                $(#[doc = $more])*
                $field_vis $field: $type,
            )*
        }

        impl $name {
            /// Every figure with its name and its meaning.
            $vis fn figures(&self) -> Vec<$crate::Figure> {
                let fields = [
                    $((stringify!($field), $help, $crate::Countable::figure(&self.$field)),)*
                ];
                fields
                    .into_iter()
                    .filter_map(|(name, help, value)| {
                        let help = help.trim();
                        let meaning = help.strip_prefix("Gauge: ");
                        Some($crate::Figure {
                            name,
                            help: meaning.unwrap_or(help),
                            is_gauge: meaning.is_some(),
                            value: value?,
                        })
                    })
                    .collect()
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    counters! {
        /// For the test.
        #[derive(Default)]
        struct Counters {
            /// Gauge: calls.
            calls: u64,
            /// Packets that came.
            /// All of them.
            packets: u64,
        }
    }

    #[test]
    fn every_figure_is_listed_with_its_meaning() {
        let counters = Counters {
            calls: 1,
            packets: 2,
        };
        let figure = |name, help, is_gauge, value| Figure {
            name,
            help,
            is_gauge,
            value,
        };
        assert_eq!(
            counters.figures(),
            [
                figure("calls", "calls.", true, 1),
                figure("packets", "Packets that came.", false, 2),
            ]
        );
    }
}
