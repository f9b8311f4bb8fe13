//! The forms of a live answer, and which one a client prefers to a plain answer.
//!
//! Runs in the supervisor; pure. What a client sends as `Accept` is text of its own: it chooses a form and nothing else.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Form {
    /// `text/event-stream`, as the HTML standard has it.
    ServerSent,
    /// `application/x-ndjson`: one JSON object a line.
    Lines,
}

impl Form {
    const ALL: [Self; 2] = [Self::ServerSent, Self::Lines];

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::ServerSent => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// One event, `object` being JSON in ASCII.
    pub(super) fn event(self, name: &str, object: &[u8]) -> Vec<u8> {
        match self {
            Self::ServerSent => [b"event: ", name.as_bytes(), b"\ndata: ", object, b"\n\n"].concat(),
            Self::Lines => [object, b"\n"].concat(),
        }
    }

    /// What says nothing but that the connection lives, if this form has such a thing.
    pub(super) fn heartbeat(self) -> Option<&'static [u8]> {
        match self {
            Self::ServerSent => Some(b":\n\n"),
            Self::Lines => None,
        }
    }
}

/// The form that a client prefers to a plain answer: one that it names (RFC 9110, 12.5.1) and ranks above JSON.
pub(in crate::api) fn asked_for(headers: &HeaderMap) -> Option<Form> {
    let ranges: Vec<Range> = (headers.get_all(ACCEPT).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::read)
        .collect();
    let plain = Range::weigh(&ranges, "application/json");
    let weighed = Form::ALL.map(|form| (Range::weigh(&ranges, form.media_type()), form));
    let (best, form) = weighed.into_iter().rev().max_by_key(|(weight, _)| *weight)?;
    (best.is_named && best.thousandths > 0 && best > plain).then_some(form)
}

/// One entry of `Accept`.
struct Range<'a> {
    kind: &'a str,
    thousandths: u16,
}

/// How much a media type is wanted. Of two that are wanted alike, the one that is named comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    thousandths: u16,
    is_named: bool,
}

impl<'a> Range<'a> {
    fn read(entry: &'a str) -> Option<Self> {
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let quality = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let thousandths = match quality {
            None => 1000,
            Some((_, number)) => {
                let number: f64 = number.parse().ok().filter(|number| (0.0..=1.0).contains(number))?;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
                let thousandths = (number * 1000.0).round() as u16;
                thousandths
            }
        };
        Some(Self { kind, thousandths })
    }

    /// By the most specific of the ranges that a media type is in.
    fn weigh(ranges: &[Self], media_type: &str) -> Weight {
        let named = ranges.iter().find(|range| range.kind.eq_ignore_ascii_case(media_type));
        let group = media_type.split('/').next().unwrap_or_default();
        let in_group =
            |range: &&Self| range.kind.strip_suffix("/*").is_some_and(|kind| kind.eq_ignore_ascii_case(group));
        let any = |range: &&Self| range.kind == "*/*";
        let range = named.or_else(|| ranges.iter().find(in_group)).or_else(|| ranges.iter().find(any));
        Weight { thousandths: range.map_or(0, |range| range.thousandths), is_named: named.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn events_are_for_who_prefers_them_to_json() {
        let cases = [
            ("text/event-stream", Some(Form::ServerSent)),
            ("application/x-ndjson", Some(Form::Lines)),
            ("TEXT/Event-Stream;q=0.3", Some(Form::ServerSent)),
            ("text/event-stream, */*", Some(Form::ServerSent)),
            ("text/event-stream, */*;q=0.1", Some(Form::ServerSent)),
            ("application/x-ndjson, text/event-stream;q=0.5", Some(Form::Lines)),
            ("application/json;q=0.5, application/x-ndjson", Some(Form::Lines)),
            ("application/json, text/event-stream", None),
            ("text/event-stream;q=0.5, application/json", None),
            ("text/event-stream;q=0", None),
            ("text/event-stream;q=7", None),
            ("*/*", None),
            ("text/*", None),
            ("text/html, application/xhtml+xml, */*;q=0.8", None),
            ("", None),
        ];
        for (accept, expected) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(asked_for(&headers), expected, "{accept}");
        }
        assert_eq!(asked_for(&HeaderMap::new()), None);
    }
}
