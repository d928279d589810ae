//! XML documents from the core: what happened to registrations, and what it says beside an
//! answer.

use signaling::xml::{AlternativeService, RegInfo};

/// Reads the bytes as each document.
///
/// # Panics
///
/// When a document that was read has more in it than it may have.
pub fn xml(data: &[u8]) {
    if let Some(info) = RegInfo::parse(data) {
        // Each contact takes a start tag with two attributes at least.
        assert!(info.contacts.len() <= data.len() / 16);
    }
    if let Some(service) = AlternativeService::parse(data) {
        let action = service.action.as_deref().unwrap_or_default();
        assert!(service.kind.len() + action.len() <= data.len());
        let _ = service.wants_registration();
    }
}
