//! Which names the server answers to, and from which web pages it takes a script.
//!
//! Read from a setting at start and asked for each request, in the supervisor; pure. A browser on this machine, or in this network,
//! sends us whatever some page tells it to. The page's owner can even have a name of their own lead to our address, and then the
//! browser takes us for the page's own server. The request says which name was meant, and which page asks: a page can forge neither.
//! What is not known to be ours must never pass.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The names and pages of the setting. By default there are none: then `localhost` and addresses are answered to, and no page
/// but our own may post.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    entries: Vec<Entry>,
}

/// One of the setting's entries, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// `*`: nothing is checked.
    Any,
    /// `mayfly.example.com`
    Name(String),
    /// `*.example.com`, kept as `.example.com`.
    Below(String),
    /// `https://app.example.com`
    Origin(String),
}

impl Hosts {
    /// Reads the setting: entries separated by commas. `None` if one of them is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries = entries.map(|entry| Entry::read(&entry.to_ascii_lowercase())).collect::<Option<_>>()?;
        Some(Self { entries })
    }

    /// Whether we are meant by `authority`, which is a host and perhaps a port, as in `Host` or `:authority`. An empty one
    /// names nobody else.
    #[must_use]
    pub fn serve(&self, authority: &str) -> bool {
        if authority.is_empty() || self.is_open() {
            return true;
        }
        let Some((host, _)) = split(authority) else { return false };
        host.eq_ignore_ascii_case("localhost") || is_address(host) || self.name(host)
    }

    /// Whether a page of `origin` may post a script to `authority`: it is our own page, or it is listed. Without an authority
    /// nothing tells which one is ours.
    #[must_use]
    pub fn trust(&self, origin: &str, authority: Option<&str>) -> bool {
        let listed = |entry: &Entry| match entry {
            Entry::Origin(known) => origin.eq_ignore_ascii_case(known),
            _ => false,
        };
        self.is_open()
            || self.entries.iter().any(listed)
            || authority.is_some_and(|authority| self.is_own(origin, authority))
    }

    /// Same scheme, host and port. We speak HTTP; a listed name may have a proxy in front that speaks HTTPS.
    fn is_own(&self, origin: &str, authority: &str) -> bool {
        let Some((scheme, page)) = origin.split_once("://") else { return false };
        let default = if scheme.eq_ignore_ascii_case("http") {
            "80"
        } else if scheme.eq_ignore_ascii_case("https") && split(authority).is_some_and(|(host, _)| self.name(host)) {
            "443"
        } else {
            return false;
        };
        let (Some((ours, port)), Some((host, of_page))) = (split(authority), split(page)) else { return false };
        ours.eq_ignore_ascii_case(host) && port.unwrap_or(default) == of_page.unwrap_or(default)
    }

    fn is_open(&self) -> bool {
        self.entries.contains(&Entry::Any)
    }

    fn name(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.entries.iter().any(|entry| match entry {
            Entry::Name(name) => host == *name,
            Entry::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            Entry::Any | Entry::Origin(_) => false,
        })
    }
}

impl Entry {
    fn read(entry: &str) -> Option<Self> {
        if entry == "*" {
            Some(Self::Any)
        } else if let Some((scheme, authority)) = entry.split_once("://") {
            let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            (!scheme.is_empty() && scheme.bytes().all(is_scheme) && split(authority).is_some())
                .then(|| Self::Origin(entry.to_owned()))
        } else if let Some(end) = entry.strip_prefix('*') {
            end.strip_prefix('.').is_some_and(is_name).then(|| Self::Below(end.to_owned()))
        } else {
            is_name(entry).then(|| Self::Name(entry.to_owned()))
        }
    }
}

/// Labels of letters, digits, `-` and `_`, with dots between them.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.split('.').all(is_label)
}

fn is_address(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

/// A name or an address, and the port if there is one; `None` for what is neither. `localhost:` has an empty port, which is none.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(end);
    let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
    let fits = (is_name(host) || is_address(host)) && port.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| (host, Some(port).filter(|port| !port.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(setting: &str) -> Hosts {
        Hosts::read(setting).expect("entries")
    }

    #[test]
    fn an_entry_is_a_name_names_below_one_an_origin_or_all() {
        for fits in
            ["", " ", "a", "A.b-c.example", "*.run.app", "https://a.example:8443", "tauri://localhost", "a,*, ,b"]
        {
            assert!(Hosts::read(fits).is_some(), "{fits:?}");
        }
        for unfit in [
            "a b",
            "a:80",
            "*a",
            "*.",
            "**",
            "a.*",
            ".a",
            "a..b",
            "a/b",
            "http://",
            "://a",
            "https://a/",
            "https://*",
            "a@b",
        ] {
            assert!(Hosts::read(unfit).is_none(), "{unfit:?}");
        }
    }

    #[test]
    fn localhost_addresses_and_listed_names_are_ours() {
        let none = hosts("");
        for ours in ["", "localhost", "LOCALHOST:8080", "localhost:", "127.0.0.1", "10.1.2.3:80", "[::1]", "[::1]:8080"]
        {
            assert!(none.serve(ours), "{ours:?}");
        }
        let not_ours = [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "evil.localhost",
            "localhost.",
            "127.0.0.1.nip.io",
            "[::1]x",
            "[::1",
            "::1",
            "localhost:x",
            "localhost:80:80",
            "a@localhost",
            "localhost@evil.example",
            "0x7f.1",
            "127.1",
            "[127.0.0.1]",
            "localhost,evil.example",
            ":8080",
            "*",
            "[]",
        ];
        for other in not_ours {
            assert!(!none.serve(other), "{other:?}");
        }
        let some = hosts("Mayfly, *.svc.example,https://page.example");
        for ours in ["mayfly", "MAYFLY:80", "a.svc.example", "a.b.svc.example:1", "localhost"] {
            assert!(some.serve(ours), "{ours:?}");
        }
        for other in ["mayfly.example", "svc.example", "asvc.example", ".svc.example", "page.example", "mayfly."] {
            assert!(!some.serve(other), "{other:?}");
        }
        assert!(hosts("*").serve("evil.example"));
    }

    #[test]
    fn a_page_is_our_own_or_listed() {
        let none = hosts("");
        for (origin, authority) in [
            ("http://localhost:8080", "localhost:8080"),
            ("http://localhost", "localhost:80"),
            ("http://LOCALHOST:80", "localhost"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(none.trust(origin, Some(authority)), "{origin} {authority}");
            assert!(!none.trust(origin, None), "{origin}");
        }
        for (origin, authority) in [
            ("null", "localhost:8080"),
            ("", "localhost:8080"),
            ("http://evil.example", "localhost:8080"),
            ("http://localhost:3000", "localhost:8080"),
            ("http://localhost", "localhost:8080"),
            ("http://127.0.0.1:8080", "localhost:8080"),
            ("https://localhost:8080", "localhost:8080"),
            ("https://localhost", "localhost"),
            ("http://localhost:8080 http://evil.example", "localhost:8080"),
            ("http://a@localhost:8080", "localhost:8080"),
            ("http://localhost:8080/", "localhost:8080"),
            ("http://", ""),
        ] {
            assert!(!none.trust(origin, Some(authority)), "{origin} {authority}");
        }
        let some = hosts("mayfly.example,https://page.example");
        assert!(some.trust("https://page.example", Some("localhost:8080")));
        assert!(some.trust("https://PAGE.example", None));
        assert!(!some.trust("http://page.example", Some("localhost:8080")));
        assert!(!some.trust("https://page.example:8443", Some("localhost:8080")));
        assert!(some.trust("https://mayfly.example", Some("mayfly.example")), "a proxy speaks HTTPS for us");
        assert!(!some.trust("https://mayfly.example", Some("localhost:8080")));
        assert!(!some.trust("https://mayfly.example", Some("mayfly.example:80")));
        assert!(hosts("*").trust("null", None));
    }
}
