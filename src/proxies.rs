//! Which addresses are proxies of ours, and which client they speak for.
//!
//! Read from a setting at start and asked for each request, in the supervisor; pure. A proxy writes the address of whoever connected to
//! it at the end of `X-Forwarded-For`, after whatever that one had written there. So the header is read from its end, and only as
//! far as proxies wrote it. A client must never choose its own address: it could flood under many, or have another's turn.

use ipnet::IpNet;
use std::net::IpAddr;

/// The proxies of the setting. By default there are none, and a client is whoever connects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads the setting: addresses and networks separated by commas. `None` if one of them is neither, or could never match: a
    /// network with bits beyond its length, an IPv4 address in IPv6's clothes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let read = |entry: &str| {
            let network = entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from)).ok()?;
            let is_mapped = network.addr().to_canonical() != network.addr();
            (network == network.trunc() && !is_mapped).then_some(network)
        };
        entries.map(read).collect::<Option<_>>().map(Self)
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whom `peer`, who connected, speaks for: the last address of `lines`, the lines of `X-Forwarded-For` in their order, that is no
    /// proxy. `None` if `peer` is no proxy, or if the lines don't say: then it speaks for itself. `None` as a line is one that
    /// is no text.
    pub fn client<'a>(&self, peer: IpAddr, lines: impl DoubleEndedIterator<Item = Option<&'a str>>) -> Option<IpAddr> {
        if !self.has(peer) {
            return None;
        }
        for line in lines.rev() {
            for entry in line?.rsplit(',') {
                let address = read_address(entry.trim())?;
                if !self.has(address) {
                    return Some(address);
                }
            }
        }
        None
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, in brackets if it is IPv6, and perhaps a port: some proxies write it.
fn read_address(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            is_port(port).then_some(())?;
            IpAddr::V6(address.parse().ok()?)
        }
        None if text.matches(':').count() == 1 => {
            let colon = text.find(':')?;
            is_port(&text[colon..]).then_some(())?;
            IpAddr::V4(text[..colon].parse().ok()?)
        }
        None => text.parse().ok()?,
    };
    Some(address.to_canonical())
}

/// `:` and digits, or nothing.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, lines: &[&str]) -> Option<String> {
        let proxies = Proxies::read(proxies).expect("proxies");
        let peer = peer.parse().expect("an address");
        proxies.client(peer, lines.iter().map(|line| Some(*line))).map(|address| address.to_string())
    }

    #[test]
    fn an_entry_is_an_address_or_a_network() {
        for fits in ["", " ", "10.0.0.7", "10.0.0.0/8, fd00::/8 ,::1,", "0.0.0.0/0", "10.0.0.7/32"] {
            assert!(Proxies::read(fits).is_some(), "{fits:?}");
        }
        for unfit in [
            "proxy",
            "10.0.0.7/8",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.7:80",
            "[::1]",
            "10.0.0.1 10.0.0.2",
            "10.0.0.1;::1",
            "*",
            "::ffff:10.0.0.7",
            "::ffff:10.0.0.0/104",
            "fe80::1%eth0",
        ] {
            assert!(Proxies::read(unfit).is_none(), "{unfit:?}");
        }
    }

    #[test]
    fn a_proxy_names_whoever_connected_to_it() {
        let told = |peer: &str, lines: &[&str]| client("10.0.0.0/8,fd00::/8,192.0.2.1", peer, lines);
        assert_eq!(told("10.1.2.3", &["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(told("::ffff:10.1.2.3", &["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(told("fd00::5", &["2001:db8::7"]).as_deref(), Some("2001:db8::7"));
        for with_port in ["198.51.100.7:443", "::ffff:198.51.100.7", "[::ffff:198.51.100.7]:1"] {
            assert_eq!(told("192.0.2.1", &[with_port]).as_deref(), Some("198.51.100.7"), "{with_port}");
        }
        assert_eq!(told("192.0.2.1", &["[2001:db8::7]"]).as_deref(), Some("2001:db8::7"));
        // Proxies one after the other, also in lines of their own.
        assert_eq!(told("10.1.2.3", &["198.51.100.7, 10.9.9.9,192.0.2.1"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(told("10.1.2.3", &["198.51.100.7", "10.9.9.9", "192.0.2.1"]).as_deref(), Some("198.51.100.7"));
    }

    #[test]
    fn what_a_client_wrote_itself_is_not_believed() {
        let told = |peer: &str, lines: &[&str]| client("10.0.0.0/8", peer, lines);
        // It is no proxy, whatever it says.
        assert_eq!(told("192.0.2.1", &["198.51.100.7"]), None);
        assert_eq!(told("192.0.2.1", &["198.51.100.7, 10.1.2.3"]), None);
        // What stood there before a proxy wrote.
        assert_eq!(told("10.1.2.3", &["203.0.113.9, 198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(told("10.1.2.3", &["203.0.113.9", "198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(told("10.1.2.3", &["10.6.6.6, 198.51.100.7, 10.9.9.9"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(told("10.1.2.3", &["rubbish, 198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        // A client that is in a proxy's network itself can't name others: the first of them may be its own words.
        assert_eq!(told("10.1.2.3", &["10.6.6.6, 10.5.5.5"]), None);
    }

    #[test]
    fn what_can_t_be_read_is_the_proxy_s_own() {
        for line in [
            "",
            ",",
            "unknown",
            "198.51.100.7,",
            "198.51.100.7, ",
            "198.51.100.7 203.0.113.9",
            "198.51.100.7:x",
            "198.51.100.7:70000",
            "198.51.100.7/32",
            "[198.51.100.7]",
            "[2001:db8::7",
            "2001:db8::7]",
            "[2001:db8::7]x",
            "for=198.51.100.7",
            "198.51.100.7, rubbish, 10.9.9.9",
        ] {
            assert_eq!(client("10.0.0.0/8", "10.1.2.3", &[line]), None, "{line:?}");
        }
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &[]), None);
        let proxies = Proxies::read("10.0.0.0/8").expect("proxies");
        let peer = "10.1.2.3".parse().expect("an address");
        assert_eq!(proxies.client(peer, [Some("198.51.100.7"), None].into_iter()), None, "no text at its end");
    }
}
