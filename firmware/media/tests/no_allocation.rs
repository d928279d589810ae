//! The relaying of a packet touches no allocator, either way, for every profile.

#![allow(clippy::unwrap_used)]
// The counting allocator is the one place here that cannot be written without it.
#![allow(unsafe_code)]

#[path = "media/browser.rs"]
#[allow(dead_code)]
mod browser;
#[path = "media/world.rs"]
#[allow(dead_code)]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use media::{Arrival, PacketBuffer, PairId, Socket, Verdict};

use browser::Browser;
use world::{TELEPHONE, World, addr};

#[test]
fn relaying_a_packet_allocates_nothing() {
    let mut world = World::new();
    world.call(1, Browser::new("192.0.2.7:40000", world.now()));
    world.run(Duration::from_secs(1));
    // The first packets make the contexts of their source.
    relay(&mut world, 0);

    let before = ALLOCATIONS.get();
    let mut counted = 0;
    for sequence in 1..200 {
        counted += relay(&mut world, sequence);
    }
    assert_eq!(counted, 0);
    assert!(ALLOCATIONS.get() > before, "the allocator counts");
    assert!(world.relays.counters().forwarded >= 400);
}

/// Relays one packet each way, and says how often the allocator was asked meanwhile.
fn relay(world: &mut World, sequence: u16) -> u64 {
    let audio = world.browsers[0].rtp(8, &[0xd5; 160]);
    let sealed = world.browsers[0].seal(&audio);
    let mut ims = vec![0x80, 8];
    ims.extend(sequence.to_be_bytes());
    ims.extend((u32::from(sequence) * 160).to_be_bytes());
    ims.extend([0xc0, 0, 0, 1]);
    ims.extend([0x55; 160]);

    let mut slot = PacketBuffer::new();
    let now = world.now() + Duration::from_millis(20) * u32::from(sequence);
    let mut count = 0;
    for (socket, from, bytes) in [
        (Socket::Access(0), "192.0.2.7:40000", sealed),
        (
            Socket::Ims {
                pair: PairId(0),
                rtcp: false,
            },
            TELEPHONE,
            ims,
        ),
    ] {
        slot.fill(&bytes);
        let arrival = Arrival {
            socket,
            from: addr(from),
        };
        let before = ALLOCATIONS.get();
        let verdict = world.relays.handle_packet(arrival, &mut slot, now);
        count += ALLOCATIONS.get() - before;
        assert!(matches!(verdict, Verdict::Forward { .. }));
    }
    count
}

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
