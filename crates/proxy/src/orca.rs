//! Load reports that servers send with their answers: the `endpoint-load-metrics` header of ORCA (open request cost
//! aggregation), which gRPC (proposal A51), Envoy and vLLM speak.
//!
//! ```text
//! endpoint-load-metrics: TEXT rps_fractional=120.5, cpu_utilization=0.4, eps=1, named_metrics.in_flight=3
//! endpoint-load-metrics: JSON {"rps_fractional": 120.5, "cpu_utilization": 0.4, "named_metrics": {"in_flight": 3}}
//! ```
//!
//! Names are those of `xds.data.orca.v3.OrcaLoadReport`, in JSON also in camelCase; a value without a first word is read as
//! TEXT, and `:` for `=` is understood, as older Envoys write it. Utilisation is `application_utilization`, or
//! `cpu_utilization` where that is absent or zero (A58). Four named metrics are ours: `in_flight` (requests in the server),
//! `response_time` (mean, seconds), `latency` (seconds that requests took which found about as many there as are now) and
//! `window` (seconds that the report covers). All other names are passed over.
//!
//! The binary form (`endpoint-load-metrics-bin`, or `BIN`) is protobuf and is refused by name, so that the log can say
//! why a server's reports do not count. A server's report is untrusted input: one invalid number and the whole report
//! is refused, because a partly wrong report would steer traffic.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use evenkeel_core::select::{LoadReport, ReportSource};

/// The header in text or JSON.
pub const HEADER: &str = "endpoint-load-metrics";
/// The header in protobuf, which is refused.
pub const BINARY_HEADER: &str = "endpoint-load-metrics-bin";

/// The same, made once.
static NAME: HeaderName = HeaderName::from_static(HEADER);
static BINARY_NAME: HeaderName = HeaderName::from_static(BINARY_HEADER);

/// Longer values are no load report.
const LONGEST: usize = 8192;
/// Largest utilisation that is accepted. Above 1 a server is overcommitted, which A58 allows.
const MOST_UTILISATION: f64 = 100.0;
const MOST_PER_SECOND: f64 = 1e9;
const MOST_SECONDS: f64 = 86_400.0;

/// Why a report is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is in the binary form.
    #[error("the load report is in binary form: have the server send `{HEADER}` as TEXT or JSON")]
    Binary,
    /// It cannot be read.
    #[error("the load report cannot be read")]
    Malformed,
    /// A number in it is negative, not finite, or larger than anything real.
    #[error("the load report has a number that cannot be")]
    Insane,
    /// It has none of the values that steer traffic.
    #[error("the load report has neither traffic nor utilisation nor any other number of use")]
    Empty,
}

/// The values of a report that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(alias = "rpsFractional")]
    rps_fractional: Option<f64>,
    #[serde(alias = "applicationUtilization")]
    application_utilization: Option<f64>,
    #[serde(alias = "cpuUtilization")]
    cpu_utilization: Option<f64>,
    eps: Option<f64>,
    #[serde(alias = "namedMetrics")]
    named_metrics: Named,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Named {
    in_flight: Option<f64>,
    response_time: Option<f64>,
    latency: Option<f64>,
    window: Option<f64>,
}

/// The report in an answer's head: `Ok(None)` where there is none. `since` is the time in seconds since this server's last
/// report (or a health check's interval), which a report covers that does not say its `window`.
pub fn read(headers: &HeaderMap, since: f64) -> Result<Option<LoadReport>, Refused> {
    let mut lines = headers.get_all(&NAME).iter();
    match (lines.next(), lines.next()) {
        (None, _) if headers.contains_key(&BINARY_NAME) => Err(Refused::Binary),
        (None, _) => Ok(None),
        (Some(line), None) => parse(line.as_bytes(), since).map(Some),
        (Some(_), Some(_)) => Err(Refused::Malformed),
    }
}

/// The report in an answer's head, which is then taken out of it: it is for the balancer, not for its clients. One that is
/// refused counts for nothing. What does not say its window is taken for a report of the last second.
pub fn take(headers: &mut HeaderMap) -> Option<LoadReport> {
    if !headers.contains_key(&NAME) && !headers.contains_key(&BINARY_NAME) {
        return None;
    }
    let report = read(headers, 1.0);
    headers.remove(&NAME);
    headers.remove(&BINARY_NAME);
    match report {
        Ok(report) => report,
        Err(refused) => {
            tracing::debug!(%refused, "load report");
            None
        }
    }
}

/// A server's last report, as received and as parsed. Many servers update theirs only a few times per second and repeat
/// it in between.
#[derive(Clone, Debug, Default)]
pub struct Last(Option<(HeaderValue, LoadReport)>);

impl Last {
    /// Like [`take`], but does not parse an unchanged value again.
    pub fn take(&mut self, headers: &mut HeaderMap) -> Option<LoadReport> {
        let mut lines = headers.get_all(&NAME).iter();
        let line = match (lines.next(), lines.next()) {
            (Some(only), None) => only.clone(),
            _ => return take(headers),
        };
        let report = match &self.0 {
            Some((known, report)) if *known == line => {
                let report = *report;
                headers.remove(&NAME);
                headers.remove(&BINARY_NAME);
                report
            }
            _ => {
                let report = take(headers)?;
                self.0 = Some((line, report));
                report
            }
        };
        Some(report)
    }
}

/// The report in one value of the header. See [`read`].
pub fn parse(value: &[u8], since: f64) -> Result<LoadReport, Refused> {
    if value.len() > LONGEST {
        return Err(Refused::Malformed);
    }
    let text = std::str::from_utf8(value).map_err(|_| Refused::Malformed)?.trim();
    let said = match text.split_once(' ') {
        Some((form, _)) if form.eq_ignore_ascii_case("BIN") => return Err(Refused::Binary),
        Some((form, rest)) if form.eq_ignore_ascii_case("JSON") => {
            serde_json::from_str(rest).map_err(|_| Refused::Malformed)?
        }
        Some((form, rest)) if form.eq_ignore_ascii_case("TEXT") => said_in_text(rest)?,
        _ => said_in_text(text)?,
    };
    said.report(since)
}

/// `name=value` pairs between commas; a name that comes twice is refused, as Envoy does.
fn said_in_text(text: &str) -> Result<Said, Refused> {
    let mut said = Said::default();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once(['=', ':']).ok_or(Refused::Malformed)?;
        let value: f64 = value.trim().parse().map_err(|_| Refused::Malformed)?;
        let place = match name.trim() {
            "rps_fractional" => &mut said.rps_fractional,
            "application_utilization" => &mut said.application_utilization,
            "cpu_utilization" => &mut said.cpu_utilization,
            "eps" => &mut said.eps,
            "named_metrics.in_flight" => &mut said.named_metrics.in_flight,
            "named_metrics.response_time" => &mut said.named_metrics.response_time,
            "named_metrics.latency" => &mut said.named_metrics.latency,
            "named_metrics.window" => &mut said.named_metrics.window,
            "" => return Err(Refused::Malformed),
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Refused::Malformed);
        }
    }
    Ok(said)
}

impl Said {
    fn report(&self, since: f64) -> Result<LoadReport, Refused> {
        let Named { in_flight, response_time, latency, window } = self.named_metrics;
        let sane = |value: Option<f64>, most: f64| match value {
            // Also false for NaN.
            Some(value) if !(0.0..=most).contains(&value) => Err(Refused::Insane),
            other => Ok(other),
        };
        let throughput = sane(self.rps_fractional, MOST_PER_SECOND)?;
        let application = sane(self.application_utilization, MOST_UTILISATION)?;
        let cpu = sane(self.cpu_utilization, MOST_UTILISATION)?;
        let errors = sane(self.eps, MOST_PER_SECOND)?;
        let in_flight = sane(in_flight, f64::from(u32::MAX))?;
        let response_time = sane(response_time, MOST_SECONDS)?;
        let latency = sane(latency, MOST_SECONDS)?;
        let window = sane(window, MOST_SECONDS)?;
        if [throughput, application, cpu, in_flight, response_time, latency].iter().all(Option::is_none) {
            return Err(Refused::Empty);
        }
        let throughput = throughput.unwrap_or(0.0);
        let errors = match errors.unwrap_or(0.0) {
            0.0 => 0.0,
            // Errors and no traffic: whatever it handled, it failed. Subnormal rates may divide to infinity; `min`
            // bounds that.
            errors if throughput > 0.0 => (errors / throughput).min(1.0),
            _ => 1.0,
        };
        Ok(LoadReport {
            window: window.unwrap_or(if since.is_finite() { since.clamp(0.0, MOST_SECONDS) } else { 0.0 }),
            throughput,
            response_time: response_time.unwrap_or(0.0),
            utilisation: application.filter(|&share| share > 0.0).or(cpu).unwrap_or(0.0),
            errors,
            in_server: in_flight.map(|in_flight| in_flight as u32),
            latency: latency.unwrap_or(0.0),
            by: ReportSource::Answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};

    const TEXT: &str = "TEXT rps_fractional=120.5, application_utilization=0.8,cpu_utilization=0.4, eps=6.025, \
                        mem_utilization=0.9, named_metrics.in_flight=3, named_metrics.response_time=0.025, \
                        named_metrics.latency=0.02, \
                        named_metrics.window=2, utilization.gpu=0.5";
    const JSON: &str = r#"JSON {"rps_fractional": 120.5, "applicationUtilization": 0.8, "cpu_utilization": 0.4, "eps": 6.025,
        "mem_utilization": 0.9, "named_metrics": {"in_flight": 3, "response_time": 0.025, "latency": 0.02, "window": 2, "kv": 0.1}}"#;

    #[test]
    fn text_and_json_say_the_same() {
        let expected = LoadReport {
            by: ReportSource::Answer,
            window: 2.0,
            throughput: 120.5,
            response_time: 0.025,
            utilisation: 0.8,
            errors: 0.05,
            in_server: Some(3),
            latency: 0.02,
        };
        let near = |report: LoadReport| {
            assert!((report.errors - 0.05).abs() < 1e-12, "{report:?}");
            assert_eq!(LoadReport { errors: 0.05, ..report }, expected);
        };
        near(parse(TEXT.as_bytes(), 1.0).unwrap());
        near(parse(JSON.as_bytes(), 1.0).unwrap());
        near(parse(TEXT.strip_prefix("TEXT ").unwrap().replace('=', ":").as_bytes(), 1.0).unwrap());
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let report = parse(b"TEXT cpu_utilization=0.4, application_utilization=0", 0.5).unwrap();
        assert_eq!(report, LoadReport { window: 0.5, utilisation: 0.4, ..LoadReport::default() });
        assert_eq!(parse(b"cpu_utilization=1.5", f64::NAN).unwrap().window, 0.0);
        assert_eq!(parse(b"rps_fractional=0, eps=1", 1.0).unwrap().errors, 1.0);
        assert_eq!(parse(b"rps_fractional=5e-324, eps=9", 1.0).unwrap().errors, 1.0);
    }

    #[test]
    fn what_cannot_be_is_refused_as_a_whole() {
        use Refused::*;
        for (value, why) in [
            ("", Empty),
            ("TEXT mem_utilization=0.5", Empty),
            ("JSON {}", Empty),
            ("BIN CZqZmZmZmbk/", Binary),
            ("TEXT cpu_utilization", Malformed),
            ("TEXT cpu_utilization=", Malformed),
            ("TEXT =1", Malformed),
            ("TEXT cpu_utilization=0.1, cpu_utilization=0.2", Malformed),
            ("JSON {\"eps\": 1, \"eps\": 2}", Malformed),
            ("JSON {\"eps\": \"1\"}", Malformed),
            ("JSON {\"cpu_utilization\": 1e999}", Malformed),
            ("JSON [", Malformed),
            ("TEXT cpu_utilization=NaN", Insane),
            ("TEXT cpu_utilization=inf", Insane),
            ("TEXT cpu_utilization=-0.1", Insane),
            ("TEXT cpu_utilization=101", Insane),
            ("TEXT rps_fractional=5, cpu_utilization=0.5, named_metrics.in_flight=5e9", Insane),
            ("JSON {\"rps_fractional\": -1}", Insane),
        ] {
            assert_eq!(parse(value.as_bytes(), 1.0), Err(why), "{value}");
        }
        let long = format!("TEXT cpu_utilization=0.{}", "0".repeat(LONGEST));
        assert_eq!(parse(long.as_bytes(), 1.0), Err(Malformed));
        let deep = format!("JSON {{\"a\": {}", "[".repeat(5000));
        assert_eq!(parse(deep.as_bytes(), 1.0), Err(Malformed));
    }

    #[test]
    fn heads_have_one_report_or_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers, 1.0), Ok(None));
        headers.insert(BINARY_HEADER, HeaderValue::from_static("CZqZmZmZmbk/"));
        assert_eq!(read(&headers, 1.0), Err(Refused::Binary));
        headers.insert(HEADER, HeaderValue::from_static("TEXT cpu_utilization=0.4"));
        assert_eq!(read(&headers, 1.0).unwrap().unwrap().utilisation, 0.4);
        headers.append(HEADER, HeaderValue::from_static("TEXT cpu_utilization=0.5"));
        assert_eq!(read(&headers, 1.0), Err(Refused::Malformed));
    }

    #[test]
    fn what_was_read_before_is_what_it_was() {
        const OTHER: &str = "JSON {\"eps\": 1, \"cpu_utilization\": 0.4}";
        let mut last = Last::default();
        for text in [TEXT, TEXT, "TEXT eps=x", OTHER, "TEXT eps=x", OTHER, TEXT] {
            for lines in [1, 0, 2] {
                let mut headers = HeaderMap::new();
                headers.insert(BINARY_HEADER, HeaderValue::from_static("CZqZmZmZmbk/"));
                (0..lines).for_each(|_| {
                    headers.append(HEADER, HeaderValue::from_static(text));
                });
                let mut same = headers.clone();
                assert_eq!(last.take(&mut headers), take(&mut same), "{lines} times {text}");
                assert!(headers.is_empty(), "it is for the balancer only");
            }
        }
    }

    /// Whatever bytes come, what is accepted is finite and in its bounds.
    #[test]
    fn mutated_reports_are_sane_or_refused() {
        let mut rng = Rng::stream(1, "test", 0);
        let (mut accepted, mut refused) = (0, 0);
        for i in 0..40_000 {
            let mut bytes = if i % 2 == 0 { TEXT } else { JSON }.as_bytes().to_vec();
            for _ in 0..rng.below(4) {
                let at = rng.below(bytes.len().max(1) as u64) as usize;
                match rng.below(4) {
                    0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.below(256) as u8),
                    1 => drop(bytes.drain(at..bytes.len().min(at + 1))),
                    2 => bytes.insert(at, b"0123456789eE+-.,={}\"[]"[rng.below(22) as usize]),
                    _ => bytes.truncate(at),
                }
            }
            match parse(&bytes, 1.0) {
                Ok(report) => {
                    accepted += 1;
                    assert!((0.0..=MOST_PER_SECOND).contains(&report.throughput), "{report:?}");
                    assert!((0.0..=MOST_UTILISATION).contains(&report.utilisation), "{report:?}");
                    assert!((0.0..=1.0).contains(&report.errors), "{report:?}");
                    assert!((0.0..=MOST_SECONDS).contains(&report.response_time), "{report:?}");
                    assert!((0.0..=MOST_SECONDS).contains(&report.window), "{report:?}");
                }
                Err(_) => refused += 1,
            }
        }
        assert!(accepted > 1000 && refused > 1000, "{accepted} {refused}: the mutations try neither side");
    }
}
