//! Selection by host and path: routes map requests to pools. The most specific host wins, then the longest prefix, and a
//! prefix ends at a `/` or at the end of the path (`/pay` takes `/pay` and `/pay/now` but not `/payments`).
//!
//! A host is exact (`example.org`) or everything below a domain (`*.example.org`, which is not `example.org` itself); exact
//! comes before any domain, a longer domain before a shorter one, and a route without host last. If the host of a route
//! matches but its prefix does not, later routes are tried.
//!
//! Equivalent paths lead to the same pool: prefixes and paths are compared with unreserved characters decoded
//! (`/%61dmin` is `/admin`, RFC 3986 section 6.2.2), other escapes in capitals, and runs of slashes as one (`//admin` is
//! `/admin`, as most servers have it). Nothing else is decoded: `%2F` is no slash, and nothing is decoded twice.

use std::borrow::Cow;
use std::cmp::Reverse;

/// Hosts and prefixes, and the pool of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Most specific host first, then longest prefix.
    routes: Vec<(Host, String, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Exactly(String),
    /// With the leading dot.
    Below(String),
}

impl Host {
    /// Specificity of a match.
    fn rank(&self) -> (u8, usize) {
        match self {
            Host::Any => (0, 0),
            Host::Below(domain) => (1, domain.len()),
            Host::Exactly(_) => (2, 0),
        }
    }

    fn takes(&self, host: Option<&str>) -> bool {
        match (self, host) {
            (Host::Any, _) => true,
            (_, None) => false,
            (Host::Exactly(name), Some(host)) => name.eq_ignore_ascii_case(host),
            (Host::Below(domain), Some(host)) => host
                .len()
                .checked_sub(domain.len())
                .filter(|&at| at > 0)
                .and_then(|at| host.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(domain)),
        }
    }
}

/// A host without port and without the dot of a full name.
fn bare(host: &str) -> &str {
    let end = match host.rfind(':') {
        // In "[::1]" the last colon is inside the brackets.
        Some(colon) if !host[colon..].contains(']') => colon,
        _ => host.len(),
    };
    host[..end].trim_end_matches('.')
}

/// A path in the normalised form for comparison (see the module's documentation). Borrowed where it is normalised already.
pub fn plain(path: &str) -> Cow<'_, str> {
    let bytes = path.as_bytes();
    if !bytes.contains(&b'%') && !bytes.windows(2).any(|two| two == b"//") {
        return Cow::Borrowed(path);
    }
    let digit = |at: usize| bytes.get(at).and_then(|&byte| (byte as char).to_digit(16)).map(|digit| digit as u8);
    let mut plain = String::with_capacity(path.len());
    let mut rest = path.char_indices();
    while let Some((at, char)) = rest.next() {
        match (char, digit(at + 1), digit(at + 2)) {
            ('%', Some(high), Some(low)) => {
                let byte = high << 4 | low;
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                    plain.push(byte as char);
                } else {
                    plain.push_str(&path[at..at + 3].to_ascii_uppercase());
                }
                rest.nth(1);
            }
            ('/', ..) if plain.ends_with('/') => {}
            _ => plain.push(char),
        }
    }
    Cow::Owned(plain)
}

impl Routes {
    /// Routes from (host, prefix, pool), in any order; of equal ones the first counts.
    pub fn new(routes: impl IntoIterator<Item = (Option<String>, String, usize)>) -> Routes {
        let host = |host: Option<String>| match host {
            None => Host::Any,
            Some(name) => match name.strip_prefix('*') {
                Some(domain) if domain.starts_with('.') => Host::Below(domain.trim_end_matches('.').to_owned()),
                _ => Host::Exactly(bare(&name).to_owned()),
            },
        };
        let mut routes: Vec<_> = routes
            .into_iter()
            .map(|(name, prefix, pool)| (host(name), plain(&prefix).trim_end_matches('/').to_owned(), pool))
            .collect();
        routes.sort_by_key(|(host, prefix, _)| Reverse((host.rank(), prefix.len())));
        Routes { routes }
    }

    /// Routes with paths only.
    pub fn of_prefixes(routes: impl IntoIterator<Item = (String, usize)>) -> Routes {
        Routes::new(routes.into_iter().map(|(prefix, pool)| (None, prefix, pool)))
    }

    /// The pool for this host (as in its header, with or without port) and path; `None` if no route matches.
    pub fn find(&self, host: Option<&str>, path: &str) -> Option<usize> {
        let path = &*plain(path.split(['?', '#']).next().unwrap_or(path));
        let host = host.map(bare);
        let leads = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
        };
        self.routes.iter().find(|(name, prefix, _)| leads(prefix) && name.takes(host)).map(|&(_, _, pool)| pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_whole_prefix_wins() {
        let routes = Routes::of_prefixes([("/".to_owned(), 0), ("/pay".to_owned(), 1), ("/pay/admin/".to_owned(), 2)]);
        for (path, pool) in
            [("/", 0), ("/payments", 0), ("/pay", 1), ("/pay?x=/pay/admin", 1), ("/pay/now", 1), ("/pay/admin/x", 2)]
        {
            assert_eq!(routes.find(None, path), Some(pool), "{path}");
            assert_eq!(routes.find(Some("example.org"), path), Some(pool), "{path}");
        }
        assert_eq!(Routes::of_prefixes([("/pay".to_owned(), 1)]).find(None, "/run"), None);
    }

    #[test]
    fn spellings_of_a_path_lead_to_one_pool() {
        let routes =
            Routes::of_prefixes([("/".to_owned(), 0), ("/admin".to_owned(), 1), ("/caf%c3%A9//x~".to_owned(), 2)]);
        for (path, pool) in [
            ("/%61dmin", 1),
            ("/%61%64%6D%69%6e/x", 1),
            ("//admin", 1),
            ("///admin//x", 1),
            ("/adm%69n?x", 1),
            ("/caf%C3%a9/x%7E/y", 2),
            ("/caf%c3%a9//x~", 2),
            ("/a%2Fdmin", 0),
            ("/admin%2Fx", 0),
            ("/%2561dmin", 0),
            ("/admin%", 0),
            ("/admin%6", 0),
            ("/admin%zz", 0),
            ("/ADMIN", 0),
            ("/%é1dmin", 0),
            ("/%2fadmin", 0),
            ("/", 0),
            ("//", 0),
        ] {
            assert_eq!(routes.find(None, path), Some(pool), "{path}");
        }
    }

    #[test]
    fn the_most_specific_host_wins_and_then_the_longest_prefix() {
        let route = |host: &str, prefix: &str, pool| (Some(host.to_owned()), prefix.to_owned(), pool);
        let routes = Routes::new([
            (None, "/".to_owned(), 0),
            (None, "/pay/by/card".to_owned(), 1),
            route("*.example.org", "/", 2),
            route("*.eu.example.org", "/", 3),
            route("shop.eu.example.org", "/pay", 4),
            route("Example.org", "/", 5),
        ]);
        for (host, path, pool) in [
            (None, "/pay/by/card", 1),
            (Some("elsewhere.net"), "/pay/by/card/x", 1),
            (Some("a.example.org"), "/pay/by/card", 2),
            (Some("a.b.EXAMPLE.org:8080"), "/", 2),
            (Some("a.eu.example.org"), "/", 3),
            (Some("shop.eu.example.org"), "/pay/now", 4),
            (Some("shop.eu.example.org."), "/other", 3),
            (Some("example.ORG:443"), "/", 5),
            (Some("notexample.org"), "/", 0),
            (Some(".example.org"), "/", 0),
            (Some("[::1]:80"), "/", 0),
            (Some(""), "/", 0),
            (Some("ü.example.org"), "/", 2),
            (Some("xü"), "/", 0),
        ] {
            assert_eq!(routes.find(host, path), Some(pool), "{host:?} {path}");
        }
        assert_eq!(Routes::new([route("[::1]", "/", 7)]).find(Some("[::1]:80"), "/"), Some(7));
    }
}
