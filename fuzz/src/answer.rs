//! What a server, or whatever stands in its place, answers: status, headers, body.

use std::time::Duration;

use chartdrop::redox::{Failure, fuzzing::meaning};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::is_readable;

/// A byte for the call; then an answer as HTTP writes it, its status first: `429\nRetry-After: 5\n\nbody`.
pub fn answer(bytes: &[u8]) {
    let Some((call, rest)) = bytes.split_first() else { return };
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let Some(status) = lines.next().and_then(|line| StatusCode::from_bytes(line).ok()) else { return };
    let mut rest = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let settled = status.is_success();
    let meaning = meaning(*call, status, headers, rest.to_vec());
    let kept: usize = meaning.kept.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(kept <= 600 && !meaning.kept.headers.iter().any(|(name, _)| name.contains("cookie")));
    assert!(meaning.kept.ids.len() <= 3);
    meaning.kept.ids.iter().for_each(|id| assert!(id.len() <= 200 && !id.contains(char::is_control)));
    if let Some(location) = &meaning.location {
        assert!(!location.trim().is_empty() && location.len() <= 1400);
    }
    match &meaning.failure {
        None => assert!(settled || matches!(call % 8, 4..), "only a resent message may be done without a 2xx"),
        Some(failure) => {
            is_said_well(failure);
            let is_message = matches!(call % 8, 4..);
            let in_doubt = matches!(failure, Failure::Unknown { .. } | Failure::Unclear { .. });
            assert!(is_message || !in_doubt, "only a message can have arrived: {failure:?}");
        }
    }
}

fn is_said_well(failure: &Failure) {
    let logged = failure.to_string();
    assert!(logged.is_ascii() && logged.len() < 150, "{logged}");
    is_readable(&logged);
    let bounded = |wait: &Duration| assert!((1..=3600).contains(&wait.as_secs()), "{wait:?}");
    match failure {
        Failure::Later { retry_after, .. } => retry_after.iter().for_each(bounded),
        Failure::Throttled { wait, .. } => bounded(wait),
        Failure::Rejected { summary, remedy, .. } | Failure::Stop { summary, remedy, .. } => {
            is_readable(summary);
            is_readable(remedy);
        }
        Failure::Unclear { status, .. } => assert!((200..300).contains(status), "only a 2xx is unclear: {status}"),
        Failure::Unreachable { .. } => panic!("a server that answers is reached"),
        Failure::Changed | Failure::Unknown { .. } | Failure::TooLarge => {}
    }
}
