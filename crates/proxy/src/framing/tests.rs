//! Tests of `framing`.

use super::*;
use evenkeel_core::rng::{Rng, Source};

/// Reads in pieces of these lengths, over and over. Gives the place of the first fault, and the heads before it.
fn read(bytes: &[u8], lengths: &[usize]) -> (Option<(usize, Fault)>, u32, State) {
    let mut framing = Framing::new(true);
    let mut at = 0;
    let mut lengths = lengths.iter().cycle();
    while at < bytes.len() {
        let end = bytes.len().min(at + lengths.next().unwrap());
        match framing.feed(&bytes[at..end]) {
            Found::Nothing => at = end,
            Found::Http2 => return (None, framing.heads(), State::Off),
            Found::Fault(sound, fault) => return (Some((at + sound, fault)), framing.heads(), State::Faulty),
            Found::Undecided(sound) => {
                at += sound;
                framing.resume();
            }
        }
    }
    (None, framing.heads(), framing.state)
}

/// The same in pieces of every kind.
fn whole(bytes: &[u8]) -> (Option<(usize, Fault)>, u32, State) {
    let found = read(bytes, &[bytes.len().max(1)]);
    for lengths in [&[1][..], &[2], &[3], &[7], &[24, 1000], &[1, 50]] {
        assert_eq!(read(bytes, lengths), found, "{lengths:?}: {:?}", String::from_utf8_lossy(bytes));
    }
    found
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn sound_requests_are_counted() {
    for (text, heads) in [
        (GET.to_owned(), 1),
        (GET.repeat(9), 9),
        (format!("\r\n\r\n{GET}\r\n{GET}"), 2),
        (format!("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na: b\nc:\rd{GET}"), 2),
        (format!("POST / HTTP/1.0\r\ncontent-length:0\t\r\n\r\n{GET}"), 2),
        (format!("{CHUNKED}3\r\na\n\r\r\n00000000A;x\r\n0123456789\r\n0\r\n\r\n{GET}"), 2),
        (format!("{CHUNKED}3 ; a = b ;c=\"d\\\"\te\" ;f;g=h\r\nabc\r\n0;z\r\nX-T: 1\r\nX-U:\r\n\r\n{GET}"), 2),
        (format!("M-SEARCH * HTTP/1.1\r\nX: \t\u{e9} \t\r\nY:\r\n\r\n{GET}"), 2),
        (format!("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n{GET}"), 2),
        (format!("PRI / HTTP/1.1\r\n\r\n{GET}"), 2),
    ] {
        assert_eq!(whole(text.as_bytes()), (None, heads, State::Start), "{text:?}");
    }
    assert_eq!(whole(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12"), (None, 0, State::Off));
}

/// Where the first byte of a fault stands is written as a bar.
#[test]
fn the_first_byte_that_cannot_be_read_in_one_way_is_found_wherever_it_stands() {
    use Fault::*;
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}");
    let chunk = |rest: &str| format!("{CHUNKED}3\r\nabc\r\n{rest}");
    let cases = [
        ("|\n".to_owned() + GET, Malformed),
        ("\r|\r\n".to_owned(), Malformed),
        ("|\0".to_owned(), Malformed),
        ("GE|(T / HTTP/1.1\r\n".to_owned(), Malformed),
        ("GET | / HTTP/1.1\r\n".to_owned(), Malformed),
        ("GET /a |b HTTP/1.1\r\n".to_owned(), Malformed),
        ("GET /|\tHTTP/1.1\r\n".to_owned(), Malformed),
        ("GET /|\r\n\r\n".to_owned(), Malformed),
        ("GET / |http/1.1\r\n".to_owned(), Malformed),
        ("GET / HTTP/1.|2\r\n".to_owned(), Malformed),
        ("GET / HTTP/1.1| \r\n".to_owned(), Malformed),
        ("GET / HTTP/1.1|\nHost: a\n\n".to_owned(), Malformed),
        (post("A: b|\nC: d\r\n\r\n"), Malformed),
        (post("A: b\r|\r\n\r\n"), Malformed),
        (post("A: b\r|c\r\n\r\n"), Malformed),
        (post("A: b|\0c\r\n\r\n"), Malformed),
        (post("A: b|\x7fc\r\n\r\n"), Malformed),
        (post("A| : b\r\n\r\n"), Malformed),
        (post("A: b\r\n| c\r\n\r\n"), Malformed),
        (post("|: b\r\n\r\n"), Malformed),
        (post("A|\r\n\r\n"), Malformed),
        (post("A|;b\r\n\r\n"), Malformed),
        (post("A: b\r\n|\n"), Malformed),
        (post("Content-Length: +3|\r\n\r\n"), Malformed),
        (post("Content-Length: 3, 3|\r\n\r\n"), Malformed),
        (post("Content-Length:|\r\n\r\n"), Malformed),
        (post("Content-Length: 18446744073709551616|\r\n\r\n"), Malformed),
        (post("Content-Length: 3\r\nContent-Length: 4\r\n|\r\n"), Malformed),
        (post("Content-Length: 3\r\nCONTENT-length: 3\r\n|\r\n"), AmbiguousLength),
        (post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n|\r\n"), AmbiguousLength),
        (post("transfer-ENCODING: Chunked\r\nA: b\r\ncontent-length: 3\r\n|\r\n"), AmbiguousLength),
        (post("Transfer-Encoding: gzip, chunked\r\n|\r\n"), AmbiguousLength),
        (post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n|\r\n"), AmbiguousLength),
        (post("Transfer-Encoding: xchunked\r\n|\r\n"), Malformed),
        (post("Transfer-Encoding:\r\n|\r\n"), Malformed),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n|\r\n".to_owned(), Malformed),
        (chunk("|\r\n"), Body),
        (chunk("|-1\r\n"), Body),
        (chunk("0|x1\r\n"), Body),
        (chunk("1| \r\na\r\n").replace("| ", " |"), Body),
        (chunk("0000000000000000|1\r\na\r\n"), Body),
        (chunk("1|\na\r\n"), Body),
        (chunk("1\r|\ra\r\n"), Body),
        (chunk("1\r\na|b\r\n"), Body),
        (chunk("1\r\na|\n0\r\n\r\n"), Body),
        (chunk("1;|\r\na\r\n"), Body),
        (chunk("1;a|\n\r\na\r\n"), Body),
        (chunk("1;a=\"b|\nc\"\r\na\r\n"), Body),
        (chunk("1;a=\"b\"|c\r\na\r\n"), Body),
        (chunk("1;a=|\r\na\r\n"), Body),
        (chunk("0\r\n|\n"), Body),
        (chunk("0|\n\n"), Body),
        (chunk("0\r\nx-t: 1|\n\r\n"), Body),
        (chunk("0\r\nx-t: 1\r|\r\n"), Body),
        (chunk("0\r\nx-t: 1\r\n| 2\r\n\r\n"), Body),
        (chunk("0\r\nx-t| : 1\r\n\r\n"), Body),
        (chunk("0\r\nx-t: |\0\r\n\r\n"), Body),
        (chunk("0\r\nx-t: 1\r\n|\n"), Body),
        (chunk("0\r\n\r|x"), Body),
    ];
    let befores = [
        "",
        GET,
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nb",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\n\r\n0\r\nX: y\r\n\r\n",
    ];
    for (marked, fault) in &cases {
        for before in befores {
            let marked = format!("{before}{marked}");
            let place = marked.find('|').unwrap();
            let text = marked.replacen('|', "", 1);
            let (found, heads, _) = whole(text.as_bytes());
            assert_eq!(found, Some((place, *fault)), "{marked:?}");
            assert_eq!(heads, u32::from(!before.is_empty()) + u32::from(*fault == Body), "{marked:?}");
        }
    }
}

#[test]
fn what_follows_an_upgrade_is_not_read_until_it_is_known() {
    let mut framing = Framing::new(false);
    let head = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(framing.feed(format!("{head}\0\u{1}").as_bytes()), Found::Undecided(head.len()));
    assert!(framing.is_undecided() && !framing.in_head());
    assert_eq!(framing.feed(b"\0"), Found::Undecided(0));
    framing.stop();
    assert_eq!(framing.feed(b"\0\x01"), Found::Nothing);
    let mut framing = Framing::new(false);
    assert_eq!(framing.feed(head.as_bytes()), Found::Nothing);
    framing.resume();
    assert_eq!(framing.feed(b"\0"), Found::Fault(0, Fault::Malformed));
    // HTTP/1.0 knows no upgrades (RFC 9110, 7.8).
    let mut framing = Framing::new(false);
    assert_eq!(framing.feed(b"GET / HTTP/1.0\r\nUpgrade: x\r\n\r\n\0"), Found::Fault(30, Fault::Malformed));
}

#[test]
fn the_request_line_is_kept_for_the_log() {
    let mut framing = Framing::new(true);
    for piece in ["GE", "T /a?", "b HT", "TP/1.1\r\n"] {
        framing.feed(piece.as_bytes());
        assert!(framing.in_head());
    }
    assert_eq!(framing.line(), b"GET /a?b");
    framing.feed(b"\r\n");
    assert!(!framing.in_head());
    assert_eq!((framing.line(), framing.heads()), (&b"GET /a?b"[..], 1));
    framing.feed(b"X");
    assert_eq!(framing.line(), b"X");
    framing.feed("y".repeat(20_000).as_bytes());
    assert_eq!(framing.line().len(), MAX_LINE);
}

/// Whatever the bytes, the pieces they come in make no difference, and nothing panics.
#[test]
fn pieces_make_no_difference() {
    let mut rng = Rng::stream(1, "test", 0);
    let parts: [&[u8]; 22] = [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.0\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"Content-Length: 3\r\n",
        b"abc",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: x\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"3;a=\"b\"",
        b";",
        b" ",
        b"\t",
        b":",
        b"X-A: b",
        b"\0",
        b"\xff",
        b"a",
        b"=",
        b"\"",
    ];
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..rng.below(12) {
            bytes.extend_from_slice(parts[rng.below(parts.len() as u64) as usize]);
        }
        whole(&bytes);
    }
}
