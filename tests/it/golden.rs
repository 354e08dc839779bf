//! Sequences against published reference behaviour.

use evenkeel::select::{Outcome, Request};
use evenkeel::units::Nanos;

use crate::support::Bench;

fn sequence(strategy: &str, weights: &[u32], picks: usize) -> String {
    let mut bench =
        Bench::new(strategy, if strategy == "round_robin" { "random_start = false" } else { "" }, weights, 1);
    (0..picks)
        .map(|_| {
            let request = Request { client: [10, 0, 0, 1].into(), path: "/", key: b"k", excluded: &[], answers: None };
            let pick = bench.pick(&request).unwrap();
            bench.finish(pick, Nanos(1), Outcome::Ok);
            char::from(b'a' + pick.backend.slot as u8)
        })
        .collect()
}

/// nginx's commit message of the smooth algorithm (2012): weights 5, 1, 1 give a a b a c a a.
#[test]
fn smooth_weighted_round_robin_is_nginx_s() {
    assert_eq!(sequence("weighted_round_robin", &[5, 1, 1], 14), "aabacaaaabacaa");
    assert_eq!(sequence("weighted_round_robin", &[1, 1, 1], 6), "abcabc");
    assert_eq!(sequence("weighted_round_robin", &[4, 2, 1], 7), "abacaba");
}

#[test]
fn round_robin_goes_round() {
    assert_eq!(sequence("round_robin", &[1, 9, 1], 7), "abcabca");
}

/// An unhealthy server's turns are spread: the healthy servers keep equal shares.
#[test]
fn round_robin_stays_even_when_a_server_is_down() {
    let mut bench = Bench::new("round_robin", "random_start = false", &[1, 1, 1, 1], 1);
    let down = bench.fleet.id(1);
    bench.fleet.set_healthy(down, false);
    bench.tell();
    let mut counts = [0; 4];
    for _ in 0..300 {
        let request = Request { client: [10, 0, 0, 1].into(), path: "/", key: b"k", excluded: &[], answers: None };
        counts[bench.pick(&request).unwrap().backend.slot as usize] += 1;
    }
    assert_eq!(counts, [100, 0, 100, 100]);
}

/// nginx `ip_hash`: h = 89; h = (h·113 + octet) mod 6271 over three octets; index h mod 3. Worked by hand for two addresses:
/// 10.0.0.x: 89·113+10 = 10067 → 3796; 3796·113 = 428948 → 2520; 2520·113 = 284760 → 2565; 2565 mod 3 = 0.
/// 192.168.1.x: 89·113+192 = 10249 → 3978; 3978·113+168 = 449682 → 4441; 4441·113+1 = 501834 → 154; 154 mod 3 = 1.
#[test]
fn ip_hash_is_nginx_s() {
    let mut bench = Bench::new("ip_hash", "", &[1, 1, 1], 1);
    for (client, slot) in [([10, 0, 0, 1], 0), ([10, 0, 0, 200], 0), ([192, 168, 1, 7], 1)] {
        let request = Request { client: client.into(), path: "/", key: b"k", excluded: &[], answers: None };
        assert_eq!(bench.pick(&request).unwrap().backend.slot, slot, "{client:?}");
    }
}

/// Ketama as nginx builds it, computed by an independent program (Python's zlib.crc32 over `host NUL port previous`,
/// 160 points per weight): for three servers of weights 1, 1, 2, the owner of each key.
#[test]
fn the_ring_is_nginx_s_ketama() {
    let mut bench = Bench::new("consistent_hash", "", &[], 1);
    bench.fleet.join("10.0.0.1:8080", 1);
    bench.fleet.join("10.0.0.2:8080", 1);
    bench.fleet.join("backend.example", 2);
    bench.tell();
    let owners: String =
        ["/", "/a", "/b", "/index.html", "/img/1.png", "/img/2.png", "user-17", "user-18", "user-19", "x"]
            .iter()
            .map(|key| {
                let request = Request {
                    client: [10, 0, 0, 1].into(),
                    path: "/",
                    key: key.as_bytes(),
                    excluded: &[],
                    answers: None,
                };
                char::from(b'0' + bench.pick(&request).unwrap().backend.slot as u8)
            })
            .collect();
    assert_eq!(owners, KETAMA_OWNERS);
}

const KETAMA_OWNERS: &str = "2000200220";
