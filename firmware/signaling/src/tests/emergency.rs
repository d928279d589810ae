//! Emergency calls.

use super::calls::invite;
use super::registration::log_in;
use super::world::World;
use crate::event::Event;
use crate::message::{HeaderName, Response, Uri};

fn sos(branch: &str) -> String {
    invite("alice", branch).replacen("sip:carol@ims.test;transport=ws", "sip:112@ims.test", 1)
}

fn last_answer(world: &mut World) -> Response {
    loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    }
}

#[test]
fn a_caller_in_need_is_told_to_use_another_way_registered_or_not() {
    for is_registered in [true, false] {
        let mut world = World::new();
        if is_registered {
            log_in(&mut world, 1, "alice");
        } else {
            world.open(1);
        }
        world.browser(1, &sos("b1"));
        let answer = last_answer(&mut world);
        assert_eq!(answer.status.code(), 380);
        let kind = answer.headers.text(&HeaderName::ContentType);
        assert_eq!(kind, Some("application/3gpp-ims+xml"));
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(body.contains("<type>emergency</type>"), "{body}");
        let told = |event: &Event| {
            matches!(
                event,
                Event::EmergencyCall {
                    is_taken: false,
                    ..
                }
            )
        };
        assert!(world.events.iter().any(told));
        assert!(world.core_got_nothing());
    }
}

#[test]
fn a_network_that_takes_emergency_calls_gets_them_whatever_the_limits_are() {
    let mut world = World::with(|config| {
        config.calls.per_registration = 0;
        let route = Uri::parse("sip:ecscf.ims.test:7060").unwrap();
        config.tenants[0].emergency.route = route.as_sip().cloned();
    });
    log_in(&mut world, 1, "alice");
    world.browser(1, &invite("alice", "b1"));
    assert_eq!(last_answer(&mut world).status.code(), 486);
    world.browser(1, &sos("b2"));
    let asked = world.core_request();
    assert_eq!(asked.request.uri.as_str(), "urn:service:sos");
    let routes = asked.request.headers.routes().unwrap();
    let routes: Vec<_> = routes.iter().map(|route| route.uri.as_str()).collect();
    assert_eq!(
        routes,
        ["sip:192.0.2.10:5060;lr", "sip:ecscf.ims.test:7060;lr"]
    );
    let told = |event: &Event| matches!(event, Event::EmergencyCall { is_taken: true, .. });
    assert!(world.events.iter().any(told));
}
