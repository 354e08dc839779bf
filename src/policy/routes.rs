//! Selection by path: routes send path prefixes to pools. The longest prefix wins, and a prefix ends at a `/` or at the
//! end of the path (`/pay` takes `/pay` and `/pay/now` but not `/payments`).

/// Prefixes and what they lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Longest first.
    prefixes: Vec<(String, usize)>,
}

impl Routes {
    /// Routes from (prefix, pool) pairs, in any order; of equal prefixes the first counts.
    pub fn new(routes: impl IntoIterator<Item = (String, usize)>) -> Routes {
        let mut prefixes: Vec<_> =
            routes.into_iter().map(|(prefix, pool)| (prefix.trim_end_matches('/').to_owned(), pool)).collect();
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Routes { prefixes }
    }

    /// Where a path leads, if anywhere.
    pub fn find(&self, path: &str) -> Option<usize> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let leads = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
        };
        self.prefixes.iter().find(|(prefix, _)| leads(prefix)).map(|&(_, pool)| pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_whole_prefix_wins() {
        let routes = Routes::new([("/".to_owned(), 0), ("/pay".to_owned(), 1), ("/pay/admin/".to_owned(), 2)]);
        for (path, pool) in
            [("/", 0), ("/payments", 0), ("/pay", 1), ("/pay?x=/pay/admin", 1), ("/pay/now", 1), ("/pay/admin/x", 2)]
        {
            assert_eq!(routes.find(path), Some(pool), "{path}");
        }
        assert_eq!(Routes::new([("/pay".to_owned(), 1)]).find("/run"), None);
    }
}
