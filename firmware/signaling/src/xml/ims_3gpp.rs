//! What a core says beside an answer: `application/3gpp-ims+xml`, TS 24.229 §7.6. Only what
//! a terminal or a P-CSCF acts on is read.

use super::{DEPTH_MAX, Scanner, Token};

/// The service that a core wants to be used instead (`<alternative-service>`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlternativeService {
    /// `<type>`: "emergency" or "restoration".
    pub kind: String,
    /// `<action>`: "emergency-registration", "initial-registration" or "anonymous-emergencycall".
    pub action: Option<String>,
}

impl AlternativeService {
    /// What the body is called in Content-Type.
    pub const MEDIA_TYPE: &str = "application/3gpp-ims+xml";

    /// Reads a document; none if it is not one, too large, or speaks of no other service.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(body)?;
        let mut stack: Vec<String> = Vec::new();
        let mut found: Option<AlternativeService> = None;
        let mut is_one = false;
        while let Some(token) = scanner.next_token()? {
            match token {
                Token::Open { tag, is_empty } => {
                    if stack.is_empty() {
                        let is_root = !is_one && tag.name == "ims-3gpp";
                        (is_root && tag.get("version").is_some()).then_some(())?;
                        is_one = true;
                    } else if stack.len() == 1 && tag.name == "alternative-service" {
                        found.is_none().then(|| found = Some(Self::default()))?;
                    }
                    if !is_empty {
                        (stack.len() < DEPTH_MAX).then(|| stack.push(tag.name))?;
                    }
                }
                Token::Close(name) => (stack.pop()? == name).then_some(())?,
                Token::Text(text) => {
                    let path: Vec<&str> = stack.iter().map(String::as_str).collect();
                    let ["ims-3gpp", "alternative-service", element] = path[..] else {
                        continue;
                    };
                    let Some(service) = &mut found else {
                        continue;
                    };
                    match element {
                        "type" => service.kind.push_str(text.trim()),
                        "action" => {
                            let action = service.action.get_or_insert_default();
                            action.push_str(text.trim());
                        }
                        _ => {}
                    }
                }
            }
        }
        found.filter(|_| stack.is_empty())
    }

    /// Whether the core has lost what it knew of the user and wants him to register afresh,
    /// TS 24.229 §5.1.2A.1.6.
    #[must_use]
    pub fn wants_registration(&self) -> bool {
        let action = self.action.as_deref();
        self.kind == "restoration" && action == Some("initial-registration")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Option<AlternativeService> {
        AlternativeService::parse(text.as_bytes())
    }

    #[test]
    fn a_core_that_forgot_a_user_asks_for_his_registration() {
        let asked = read(
            "<?xml version=\"1.0\"?>\n<ims-3gpp version=\"1\">\n <alternative-service>\n  \
             <type>restoration</type>\n  <reason/>\n  <action> initial-registration\n</action>\n \
             </alternative-service>\n</ims-3gpp>\n",
        );
        assert!(asked.unwrap().wants_registration());
    }

    #[test]
    fn another_service_is_no_request_to_register() {
        let emergency = read(
            "<ims-3gpp version='1'><alternative-service><type>emergency</type>\
             <reason>x</reason></alternative-service></ims-3gpp>",
        );
        assert_eq!(emergency.as_ref().unwrap().kind, "emergency");
        assert!(!emergency.unwrap().wants_registration());
        let half = "<ims-3gpp version='1'><alternative-service><type>restoration</type>\
             </alternative-service></ims-3gpp>";
        assert!(!read(half).unwrap().wants_registration());
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        for text in [
            "",
            "<ims-3gpp/>",
            "<ims-3gpp version='1'/>",
            "<ims-3gpp><alternative-service/></ims-3gpp>",
            "<alternative-service><type>restoration</type></alternative-service>",
            "<ims-3gpp version='1'><alternative-service><type>restoration</type>",
            "<ims-3gpp version='1'><alternative-service/><alternative-service/></ims-3gpp>",
            "<ims-3gpp version='1'><alternative-service/></ims-3gpp><ims-3gpp version='1'/>",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
