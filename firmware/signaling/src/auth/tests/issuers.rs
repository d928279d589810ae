//! Issuers that move, rotate their keys, are away, or are asked about tokens.

use std::time::Duration;

use iq::Private;

use super::provider::{Bench, ISSUER, TODAY, config, token};
use crate::auth::{
    Discovery, HttpsUrl, IntrospectionConfig, IssuerConfig, TokenCheck, TokenRefusal as No,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn asked_about() -> IssuerConfig {
    IssuerConfig {
        check: TokenCheck::Introspection,
        introspection: Some(IntrospectionConfig {
            endpoint: None,
            client_id: "gate house".to_owned(),
            client_secret: Private::new("s:ecret".to_owned()),
            interval: 5 * MINUTE,
        }),
        ..config()
    }
}

fn active(changes: &[(&str, &str)]) -> String {
    let mut all = vec![("active", "true")];
    all.extend_from_slice(changes);
    super::provider::claims(&all)
}

#[test]
fn keys_are_found_through_the_issuer_s_own_document_and_only_once() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.judge(&token(&[])), Ok(()));
    assert_eq!(bench.judge(&token(&[("sub", "\"bob\"")])), Ok(()));
    let document = format!("{ISSUER}/.well-known/openid-configuration");
    assert_eq!(bench.log, [document.as_str(), "https://idp.test/keys"]);

    let mut bench = Bench::new(IssuerConfig {
        discovery: Discovery::OAuth,
        ..config()
    });
    assert_eq!(bench.judge(&token(&[])), Ok(()));
    let document = "https://idp.test/.well-known/oauth-authorization-server/realms/acme";
    assert_eq!(bench.log, [document, "https://idp.test/keys"]);

    let mut bench = Bench::new(IssuerConfig {
        keys: HttpsUrl::parse("https://idp.test/keys"),
        ..config()
    });
    assert_eq!(bench.judge(&token(&[])), Ok(()));
    assert_eq!(bench.log, ["https://idp.test/keys"]);
}

#[test]
fn a_document_of_another_issuer_is_not_believed() {
    let flaws = [
        (ISSUER, "https://evil.test"),
        (ISSUER, "https://idp.test/realms/acme/"),
        ("https://idp.test/keys", "http://idp.test/keys"),
        ("\"issuer\"", "\"issuer\":\"x\",\"issuer\""),
        ("jwks_uri", "jwks"),
    ];
    for (from, to) in flaws {
        let mut bench = Bench::new(config());
        bench.document = bench.document.replacen(from, to, 1);
        assert_eq!(
            bench.judge(&token(&[])),
            Err(No::ProviderUnavailable),
            "{to}"
        );
        assert_eq!(bench.alarms, [1]);
    }
}

#[test]
fn a_key_set_that_is_none_is_not_believed() {
    let many = format!(r#"{{"keys":[{}]}}"#, ["{}"; 33].join(","));
    for set in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[7]}"#, &many] {
        let mut bench = Bench::new(config());
        bench.key_set = set.to_owned();
        assert_eq!(
            bench.judge(&token(&[])),
            Err(No::ProviderUnavailable),
            "{set}"
        );
    }
}

#[test]
fn rotated_keys_are_fetched_when_the_first_token_of_the_new_key_comes() {
    let mut bench = Bench::new(config());
    let key_set = bench.key_set.clone();
    bench.key_set = key_set.replace("\"rsa\"", "\"before\"");
    assert_eq!(bench.judge(&token(&[])), Err(No::UnknownKey));
    bench.pass(MINUTE);
    bench.key_set = key_set;
    assert_eq!(bench.judge(&token(&[("sub", "\"bob\"")])), Ok(()));
}

#[test]
fn many_tokens_of_an_unknown_key_cost_one_question_a_minute() {
    let mut bench = Bench::new(config());
    bench.judge(&token(&[])).unwrap();
    let before = bench.log.len();
    for n in 0..50 {
        let header = format!(r#"{{"alg":"RS256","kid":"nobody{n}"}}"#);
        let evil = super::provider::sign(
            super::provider::Signer::Stranger,
            &header,
            &super::provider::claims(&[]),
        );
        assert_eq!(bench.judge(&evil), Err(No::UnknownKey));
        bench.pass(SECOND);
    }
    assert_eq!(bench.log.len(), before + 1);
}

#[test]
fn a_provider_that_is_away_costs_no_known_key_for_a_day() {
    let mut bench = Bench::new(config());
    bench.judge(&token(&[])).unwrap();
    bench.is_up = false;
    bench.pass(23 * 60 * MINUTE);
    let exp = (TODAY + 25 * 3600).to_string();
    assert_eq!(bench.judge(&token(&[("exp", &exp)])), Ok(()));
    assert!(bench.alarms.contains(&3), "the operator is told");
    let questions = bench.log.len();
    assert!(questions < 400, "{questions} questions in a day");
    bench.pass(2 * 60 * MINUTE);
    let exp = (TODAY + 30 * 3600).to_string();
    let late = token(&[("exp", &exp)]);
    assert_eq!(bench.judge(&late), Err(No::ProviderUnavailable));
    bench.is_up = true;
    bench.pass(6 * MINUTE);
    assert_eq!(bench.judge(&late), Ok(()), "and it comes back by itself");
}

#[test]
fn a_slow_provider_is_asked_once_for_all_who_wait_and_is_not_waited_for_long() {
    let mut bench = Bench::new(config());
    bench.is_slow = true;
    let waiting = token(&[]);
    for _ in 0..3 {
        assert!(bench.show(&waiting).is_none());
    }
    assert!(bench.show(&token(&[("sub", "\"bob\"")])).is_none());
    assert_eq!(bench.log.len(), 1);
    bench.answer();
    bench.settle();
    assert_eq!(bench.log.len(), 2, "the keys, behind the document");
    bench.answer();
    bench.settle();
    assert_eq!(bench.verdicts.len(), 4);
    assert!(bench.verdicts.iter().all(|(_, verdict)| verdict.is_ok()));

    let mut bench = Bench::new(config());
    bench.is_slow = true;
    assert!(bench.show(&waiting).is_none());
    bench.pass(11 * SECOND);
    let verdict = &bench.verdicts[0].1;
    assert_eq!(verdict.as_ref().err(), Some(&No::ProviderUnavailable));
}

#[test]
fn an_opaque_token_is_what_its_issuer_says() {
    let mut bench = Bench::new(asked_about());
    bench.introspection = active(&[]);
    assert_eq!(bench.judge("opaque-1"), Ok(()));
    let table = [
        (active(&[("active", "false")]), No::Inactive),
        (active(&[("active", "\"true\"")]), No::Inactive),
        (active(&[("active", "")]), No::Inactive),
        (active(&[("exp", "")]), No::NoExpiry),
        (active(&[("exp", "7")]), No::Expired),
        (active(&[("aud", "\"other\"")]), No::WrongAudience),
        (active(&[("iss", "\"https://evil.test\"")]), No::WrongIssuer),
        (active(&[("scope", "\"x\"")]), No::MissingScope),
        (
            active(&[("azp", ""), ("client_id", "\"evil\"")]),
            No::WrongClient,
        ),
        (active(&[("sub", "")]), No::NoSubject),
        (active(&[("cnf", "{}")]), No::BoundToKey),
        (
            "{\"active\":true,\"active\":true}".to_owned(),
            No::ProviderUnavailable,
        ),
        ("<html>".to_owned(), No::ProviderUnavailable),
    ];
    for (n, (said, refusal)) in table.into_iter().enumerate() {
        bench.introspection = said.clone();
        assert_eq!(bench.judge(&format!("token-{n}")), Err(refusal), "{said}");
    }
}

#[test]
fn an_issuer_is_asked_as_the_standard_has_it_and_not_about_every_request() {
    let mut bench = Bench::new(asked_about());
    bench.is_slow = true;
    bench.introspection = active(&[("iss", "")]);
    assert!(bench.show("a+b/c=").is_none());
    bench.answer();
    bench.settle();
    let (_, request) = bench.asked.last().unwrap();
    assert_eq!(request.url.path(), "/introspect");
    let form = request.form.as_ref().unwrap().reveal();
    assert_eq!(form, "token=a%2Bb%2Fc%3D&token_type_hint=access_token");
    let authorization = request.authorization.as_ref().unwrap().reveal();
    assert_eq!(authorization, "Basic Z2F0ZSUyMGhvdXNlOnMlM0FlY3JldA==");
    assert!(
        !format!("{request:?}").contains("token="),
        "it never prints"
    );
    bench.answer();
    bench.settle();
    bench.is_slow = false;
    let before = bench.log.len();
    for _ in 0..20 {
        assert_eq!(bench.judge("a+b/c="), Ok(()));
        bench.pass(2 * SECOND);
    }
    assert_eq!(bench.log.len(), before);
    bench.pass(MINUTE);
    assert_eq!(bench.judge("a+b/c="), Ok(()));
    assert_eq!(bench.log.len(), before + 1);
}

#[test]
fn a_refused_opaque_token_is_remembered_for_some_seconds() {
    let mut bench = Bench::new(asked_about());
    assert_eq!(bench.judge("x"), Err(No::Inactive));
    let before = bench.log.len();
    assert_eq!(bench.judge("x"), Err(No::Inactive));
    assert_eq!(bench.log.len(), before);
    bench.introspection = active(&[]);
    bench.pass(9 * SECOND);
    assert_eq!(bench.judge("x"), Ok(()));
}

#[test]
fn a_revoked_token_is_found_by_asking_again() {
    let mut bench = Bench::new(IssuerConfig {
        check: TokenCheck::Signature,
        ..asked_about()
    });
    bench.introspection = active(&[]);
    let jwt = token(&[]);
    assert_eq!(bench.judge(&jwt), Ok(()));
    assert_eq!(bench.recheck(&jwt), Ok(()));
    bench.introspection = r#"{"active":false}"#.to_owned();
    assert_eq!(bench.recheck(&jwt), Err(No::Inactive));
    bench.pass(MINUTE);
    assert_eq!(
        bench.judge(&jwt),
        Err(No::Inactive),
        "its signature is good as ever"
    );
    bench.is_up = false;
    assert_eq!(bench.recheck(&jwt), Err(No::ProviderUnavailable));
}
