//! Which numbers may be called. A number is judged as it was dialled and as it reads in
//! full (E.164): first by the operator's own rules in their order, then by two switches
//! that are off unless he turns them on: numbers that cost extra, and other countries.
//! Where home is he says, or else the caller's own number does.

use crate::message::{SipUri, Uri};

/// Which numbers the users of a tenant may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPlan {
    /// The operator's own rules; the first that fits decides.
    pub rules: Vec<Rule>,
    /// The country calling code of home, digits only. Without it each caller's home is that
    /// of his own number.
    pub country_code: Option<String>,
    /// What is dialled before a country code instead of `+`.
    pub international_prefix: String,
    /// What is dialled at home before an area code, and is left out after the country
    /// code; empty where there is none, as in Italy.
    pub national_prefix: String,
    /// Whether other countries may be called.
    pub international: bool,
    /// Whether numbers that cost extra may be called.
    pub premium: bool,
}

impl Default for DialPlan {
    fn default() -> Self {
        DialPlan {
            rules: Vec::new(),
            country_code: None,
            international_prefix: "00".to_owned(),
            national_prefix: "0".to_owned(),
            international: false,
            premium: false,
        }
    }
}

/// One rule: `allow` or `deny`, and a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether what fits may be called.
    pub allows: bool,
    /// What it is about: digits, `+`, `x` for any digit, and `*` at the end for any rest.
    pattern: String,
}

/// Why a number may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Barred {
    /// One of the operator's own rules, counted from 1.
    #[error("rule {0} of the dial plan denies it")]
    Rule(usize),
    /// Another country.
    #[error("calls to other countries are not allowed")]
    International,
    /// Perhaps another country: nobody knows which one is home.
    #[error(
        "it may be in another country: country_code is not set, and the caller has no number \
         of his own that shows which country is home"
    )]
    NoHome,
    /// A number that costs extra.
    #[error("calls to numbers that cost extra are not allowed")]
    Premium,
}

impl Rule {
    /// Reads a rule like `allow +3906*` or `deny 4xx`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (verdict, pattern) = text.trim().split_once(char::is_whitespace)?;
        let allows = match verdict {
            "allow" => true,
            "deny" => false,
            _ => return None,
        };
        let pattern = pattern.trim();
        let body = pattern.strip_suffix('*').unwrap_or(pattern);
        let digits = body.strip_prefix('+').unwrap_or(body);
        let is_good =
            !pattern.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'x');
        is_good.then(|| Rule {
            allows,
            pattern: pattern.to_owned(),
        })
    }

    fn fits(&self, number: &str) -> bool {
        let (body, is_open) = match self.pattern.strip_suffix('*') {
            Some(body) => (body, true),
            None => (self.pattern.as_str(), false),
        };
        let same =
            |(wanted, got): (u8, u8)| wanted == got || wanted == b'x' && got.is_ascii_digit();
        let length = number.len() == body.len() || is_open && number.len() > body.len();
        length && body.bytes().zip(number.bytes()).all(same)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.allows { "allow" } else { "deny" };
        write!(f, "{verdict} {}", self.pattern)
    }
}

impl DialPlan {
    /// Whether a target may be called: what a user dials, and what a transfer or
    /// a redirection names. What is no number is not judged here. The caller's own number
    /// (with its `+`) shows where home is if the plan does not say it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, target: &Uri, own_number: Option<&str>) -> Result<(), Barred> {
        let Some(dialled) = number_of(target) else {
            return Ok(());
        };
        let home = self.home(own_number);
        let full = home.in_full(&dialled);
        let forms = || {
            [Some(dialled.as_str()), full.as_deref()]
                .into_iter()
                .flatten()
        };
        let decides = |rule: &Rule| forms().any(|form| rule.fits(form));
        if let Some(at) = self.rules.iter().position(decides) {
            return match self.rules[at].allows {
                true => Ok(()),
                false => Err(Barred::Rule(at + 1)),
            };
        }
        let Some(full) = full.as_deref().and_then(|full| full.strip_prefix('+')) else {
            return Ok(());
        };
        if !self.premium && is_premium(full) {
            return Err(Barred::Premium);
        }
        match home.code {
            _ if self.international => Ok(()),
            None => Err(Barred::NoHome),
            Some(code) if is_abroad(full, code) => Err(Barred::International),
            Some(_) => Ok(()),
        }
    }

    /// The number that a URI spells, with its country code if it is clear which, else as it
    /// was dialled.
    #[must_use]
    pub fn number_in(&self, target: &Uri) -> Option<String> {
        let dialled = number_of(target)?;
        Some(self.home(None).in_full(&dialled).unwrap_or(dialled.number))
    }

    /// Where home is for a caller with this number, and how its numbers are dialled.
    fn home<'a>(&'a self, own_number: Option<&'a str>) -> Home<'a> {
        let own = self.country_code.as_deref();
        let shown = own_number.and_then(|number| country_code_of(number.strip_prefix('+')?));
        let mut home = Home {
            code: own.or(shown),
            international: &self.international_prefix,
            // Somewhere in the world one of the two is dialled.
            or_else: (own.is_none() && shown.is_none()).then_some("011"),
            national: &self.national_prefix,
        };
        let known = PREFIXES.iter().find(|(code, ..)| Some(*code) == shown);
        if let (None, Some((_, international, national))) = (own, known) {
            let usual = DialPlan::default();
            if self.international_prefix == usual.international_prefix {
                home.international = international;
            }
            if self.national_prefix == usual.national_prefix {
                home.national = national;
            }
        }
        home
    }
}

/// A country, and how numbers are dialled there.
struct Home<'a> {
    /// Its calling code, if it is known which one it is.
    code: Option<&'a str>,
    /// What is dialled before a country code; and what else may be.
    international: &'a str,
    or_else: Option<&'a str>,
    /// What is dialled before an area code.
    national: &'a str,
}

impl Home<'_> {
    /// The number with its country code, if it is clear which.
    fn in_full(&self, dialled: &Dialled) -> Option<String> {
        let number = dialled.as_str();
        if number.starts_with('+') {
            return Some(number.to_owned());
        }
        let after = |prefix: &str| {
            let rest = number.strip_prefix(prefix).filter(|_| !prefix.is_empty());
            rest.filter(|rest| rest.len() >= SHORTEST_NUMBER)
        };
        let abroad = after(self.international).or_else(|| after(self.or_else?));
        if let Some(rest) = abroad {
            return Some(format!("+{rest}"));
        }
        // RFC 3966 §5.1.5: a local number may say which country it is dialled in.
        let code = dialled.context.as_deref().or(self.code)?;
        let national = match self.national {
            "" => Some(number).filter(|it| it.len() >= SHORTEST_NUMBER),
            prefix => after(prefix),
        };
        national.map(|rest| format!("+{code}{rest}"))
    }
}

/// Whether a full number (without its `+`) is in another country than the one of this code.
fn is_abroad(full: &str, code: &str) -> bool {
    match full.strip_prefix(code) {
        None => true,
        // One code for many countries, at the prices of other countries.
        Some(rest) if code == "1" => {
            let area = rest.get(..3).unwrap_or(rest);
            NANP_ABROAD.contains(&area)
        }
        Some(_) => false,
    }
}

/// The country code that a full number (without its `+`) begins with, ITU-T E.164: one digit in
/// zones 1 and 7, two where the second digit says so, else three.
fn country_code_of(full: &str) -> Option<&str> {
    let two = full.get(..2)?;
    let digits = match two {
        _ if full.starts_with(['1', '7']) => 1,
        "20" | "27" | "28" | "30" | "31" | "32" | "33" | "34" | "36" | "39" => 2,
        "40" | "41" | "43" | "44" | "45" | "46" | "47" | "48" | "49" => 2,
        "51" | "52" | "53" | "54" | "55" | "56" | "57" | "58" => 2,
        "60" | "61" | "62" | "63" | "64" | "65" | "66" => 2,
        "81" | "82" | "84" | "86" | "90" | "91" | "92" | "93" | "94" | "95" | "98" => 2,
        _ => 3,
    };
    full.get(..digits)
}

/// A number as it was dialled: digits, with `+` before them if it is a full one.
struct Dialled {
    number: String,
    /// The country code that a local number was dialled in.
    context: Option<String>,
}

impl Dialled {
    fn as_str(&self) -> &str {
        &self.number
    }
}

/// The number that a target spells, if it spells one.
fn number_of(target: &Uri) -> Option<Dialled> {
    match target {
        Uri::Tel(tel) => dialled(tel.number(), tel.param("phone-context")),
        Uri::Sip(sip) => of_sip(sip),
        Uri::Urn(_) | Uri::Other(_) => None,
    }
}

/// The user part of a SIP URI may be a number whether or not it says so (RFC 3261
/// §19.1.6), and what stands after a semicolon in it are the number's parameters.
fn of_sip(sip: &SipUri) -> Option<Dialled> {
    let user = sip.unescaped_user()?;
    let mut parts = user.split(';');
    let number = parts.next()?;
    let context = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("phone-context").then_some(value)
    });
    dialled(number, context.or_else(|| sip.param("phone-context")))
}

fn dialled(text: &str, context: Option<&str>) -> Option<Dialled> {
    let number: String = text.chars().filter(|c| !"-.() ".contains(*c)).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let code = context
        .and_then(|context| context.strip_prefix('+'))
        .filter(|code| !code.is_empty() && code.bytes().all(|b| b.is_ascii_digit()));
    is_number.then(|| Dialled {
        context: code.map(str::to_owned),
        number,
    })
}

fn is_premium(full: &str) -> bool {
    PREMIUM.iter().any(|prefix| full.starts_with(prefix))
}

/// Digits that a number without a country code has at least; what is shorter is a short
/// code or an extension.
const SHORTEST_NUMBER: usize = 5;

/// Beginnings of numbers that cost extra, with their country code: the networks of ITU-T
/// E.164 that belong to no country and are sold dearly, and the premium ranges of national
/// numbering plans.
const PREMIUM: &[&str] = &[
    // No country: satellites, international networks, shared cost, premium rate.
    "808", "870", "878", "881", "882", "883", "979", //
    // North America.
    "1900", "1976", //
    // Netherlands, Belgium, France, Spain.
    "31900", "31906", "31909", "3290", "3389", "34803", "34806", "34807", "34905", "34907", //
    // Portugal, Luxembourg, Ireland, Finland.
    "351601", "351607", "35290", "35315", "353157", "358600", "358700", //
    // Hungary, Italy, Romania.
    "3690", "39144", "39163", "39164", "39166", "39178", "39892", "39893", "39894", "39895",
    "39897", "39899", "40900", "40903", "40906", //
    // Switzerland, Czechia, Slovakia, Austria.
    "41900", "41901", "41906", "42090", "421900", "43900", "43901", "43930", "43931",
    "43939", //
    // United Kingdom, Denmark, Sweden, Norway, Poland, Germany.
    "4487", "4490", "4491", "4498", "4590", "46900", "46939", "46944", "4782", "4870", "49137",
    "49900", //
    // Australia.
    "61190",
];

/// Countries where other prefixes than `00` and `0` are dialled: the code, what stands before
/// a country code, what before an area code (ITU-T operational bulletin, dialling procedures).
/// A prefix that begins with `00` needs no line.
const PREFIXES: &[(&str, &str, &str)] = &[
    ("1", "011", "1"),
    ("7", "810", "8"),
    ("30", "00", ""),
    ("34", "00", ""),
    ("39", "00", ""),
    ("45", "00", ""),
    ("47", "00", ""),
    ("48", "00", ""),
    ("53", "119", "0"),
    ("81", "010", "0"),
    ("351", "00", ""),
    ("352", "00", ""),
    ("375", "810", "8"),
    ("420", "00", ""),
    ("992", "810", "8"),
    ("993", "810", "8"),
];

/// Areas of the country code 1 that are neither in the United States nor in Canada.
const NANP_ABROAD: [&str; 21] = [
    "242", "246", "264", "268", "284", "345", "441", "473", "649", "658", "664", "721", "758",
    "767", "784", "809", "829", "849", "868", "869", "876",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(country_code: &str, national_prefix: &str, rules: &[&str]) -> DialPlan {
        DialPlan {
            rules: rules.iter().filter_map(|rule| Rule::parse(rule)).collect(),
            country_code: Some(country_code.to_owned()),
            national_prefix: national_prefix.to_owned(),
            ..DialPlan::default()
        }
    }

    fn check(plan: &DialPlan, target: &str) -> Result<(), Barred> {
        check_for(plan, target, None)
    }

    fn check_for(plan: &DialPlan, target: &str, own: Option<&str>) -> Result<(), Barred> {
        plan.check(&Uri::parse(target).expect("a URI"), own)
    }

    const OK: Result<(), Barred> = Ok(());
    const PREMIUM: Result<(), Barred> = Err(Barred::Premium);
    const ABROAD: Result<(), Barred> = Err(Barred::International);

    #[test]
    fn dear_numbers_and_other_countries_are_barred_however_they_are_spelled() {
        let germany = plan("49", "0", &[]);
        for (target, verdict) in [
            ("tel:+49-30-1234567", OK),
            ("sip:0301234567@ims.test", OK),
            ("sip:112@ims.test", OK),
            ("sip:alice@ims.test", OK),
            ("urn:service:sos", OK),
            ("tel:+499001234567", PREMIUM),
            ("sip:09001234567@ims.test;user=phone", PREMIUM),
            ("sip:0-900-123.4567@ims.test", PREMIUM),
            ("sip:00499001234567@ims.test", PREMIUM),
            ("sip:%2B49900%31234567@ims.test", PREMIUM),
            ("sip:+499001234567;npdi@ims.test", PREMIUM),
            ("tel:9001234567;phone-context=+49", OK),
            ("tel:09001234567;phone-context=+49", PREMIUM),
            ("tel:+881612345678", PREMIUM),
            ("sip:0039061234567@ims.test", ABROAD),
            ("tel:+390612345678", ABROAD),
            ("sip:+39061234567@elsewhere.test", ABROAD),
        ] {
            assert_eq!(check(&germany, target), verdict, "{target}");
        }
    }

    #[test]
    fn where_there_is_no_national_prefix_a_number_stands_alone() {
        let italy = plan("39", "", &[]);
        assert_eq!(check(&italy, "sip:0401234567@ims.test"), OK);
        assert_eq!(check(&italy, "sip:899123456@ims.test"), PREMIUM);
        assert_eq!(check(&italy, "sip:200@ims.test"), OK);
    }

    #[test]
    fn the_code_that_many_countries_share_is_not_home_everywhere() {
        let america = plan("1", "1", &[]);
        assert_eq!(check(&america, "tel:+12125550123"), OK);
        assert_eq!(check(&america, "tel:+18765550123"), ABROAD);
        assert_eq!(check(&america, "sip:19005550123@ims.test"), PREMIUM);
    }

    #[test]
    fn the_operators_rules_come_first_and_in_their_order() {
        let rules = ["allow +3906*", "deny +39*", "deny 4xx", "allow 0900123"];
        let germany = plan("49", "0", &rules);
        assert_eq!(check(&germany, "tel:+39061234567"), OK);
        assert_eq!(
            check(&germany, "sip:0039021234567@a.test"),
            Err(Barred::Rule(2))
        );
        assert_eq!(check(&germany, "sip:412@ims.test"), Err(Barred::Rule(3)));
        assert_eq!(check(&germany, "sip:4123@ims.test"), OK);
        assert_eq!(check(&germany, "sip:0900123@ims.test"), OK);
        assert_eq!(check(&germany, "tel:+33123456789"), ABROAD);
    }

    #[test]
    fn where_the_plan_names_no_home_the_callers_own_number_does() {
        let unset = DialPlan::default();
        for (own, target, verdict) in [
            ("+390405550101", "tel:+390401234567", OK),
            ("+390405550101", "sip:0401234567@ims.test", OK),
            ("+390405550101", "tel:+493012345678", ABROAD),
            ("+390405550101", "sip:00493012345678@ims.test", ABROAD),
            ("+390405550101", "sip:899123456@ims.test", PREMIUM),
            ("+12125550100", "tel:+13125550100", OK),
            ("+12125550100", "sip:13125550100@ims.test", OK),
            ("+12125550100", "sip:011493012345678@ims.test", ABROAD),
            ("+12125550100", "tel:+18765550123", ABROAD),
            ("+3545550100", "tel:+3545550101", OK),
            ("+3545550100", "tel:+3535550101", ABROAD),
            ("+61255501000", "sip:0011493012345678@ims.test", ABROAD),
            ("+81355501000", "sip:010493012345678@ims.test", ABROAD),
            ("+81355501000", "sip:0312345678@ims.test", OK),
            ("+390405550101", "sip:600@ims.test", OK),
        ] {
            assert_eq!(
                check_for(&unset, target, Some(own)),
                verdict,
                "{own} {target}"
            );
        }
        // What the plan says comes before what a number shows.
        let germany = plan("49", "0", &[]);
        let own = Some("+390405550101");
        assert_eq!(check_for(&germany, "tel:+493012345678", own), OK);
        assert_eq!(check_for(&germany, "tel:+390401234567", own), ABROAD);
    }

    #[test]
    fn where_nobody_knows_home_no_country_is_called() {
        let nowhere = DialPlan::default();
        const NO_HOME: Result<(), Barred> = Err(Barred::NoHome);
        assert_eq!(check(&nowhere, "tel:+49301234567"), NO_HOME);
        assert_eq!(check(&nowhere, "sip:0049301234567@ims.test"), NO_HOME);
        assert_eq!(check(&nowhere, "sip:01149301234567@ims.test"), NO_HOME);
        assert_eq!(check(&nowhere, "sip:0301234567@ims.test"), OK);
        assert_eq!(check(&nowhere, "sip:600@ims.test"), OK);
        assert_eq!(check(&nowhere, "sip:alice@ims.test"), OK);
        assert_eq!(check(&nowhere, "tel:+499001234567"), PREMIUM);
        assert_eq!(check(&nowhere, "sip:00881612345678@ims.test"), PREMIUM);
        let ruled = DialPlan {
            rules: Rule::parse("allow +252*").into_iter().collect(),
            ..DialPlan::default()
        };
        assert_eq!(check(&ruled, "tel:+252612345678"), OK);
        let abroad = DialPlan {
            international: true,
            ..DialPlan::default()
        };
        assert_eq!(check(&abroad, "tel:+49301234567"), OK);
    }

    #[test]
    fn a_country_code_has_one_to_three_digits() {
        for (number, code) in [
            ("12125550100", "1"),
            ("74955550100", "7"),
            ("390405550101", "39"),
            ("4915155501", "49"),
            ("3545550100", "354"),
            ("8525550100", "852"),
            ("9715550100", "971"),
        ] {
            assert_eq!(country_code_of(number), Some(code));
        }
        assert_eq!(country_code_of("3"), None);
    }

    #[test]
    fn a_rule_reads_back_and_nonsense_is_refused() {
        for text in ["allow +39*", "deny 4xx", "deny *"] {
            assert_eq!(
                Rule::parse(text).map(|rule| rule.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "allow",
            "permit +39*",
            "deny +3*9",
            "deny 0a",
            "deny 39+",
        ] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
    }
}
