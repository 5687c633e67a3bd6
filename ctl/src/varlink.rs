//! Messages of the control interface: JSON ended by NUL (varlink.org, "Method Call").

use berth_units::wire::control::{Call, Fault, MESSAGE_MAX};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a reply can be besides the result.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The node answered with an error of the interface.
    #[error(transparent)]
    Fault(Fault),
    /// It answered with an error that this command does not know.
    #[error("the node answered '{0}'")]
    UnknownFault(String),
    /// It answered something that is no reply to this call.
    #[error("the node's answer is not understood: is it of another version?")]
    NotUnderstood(#[source] serde_json::Error),
    /// It did not end the message.
    #[error("the node's answer is longer than {MESSAGE_MAX} bytes")]
    TooLong,
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(flatten)]
    call: &'a Call,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    upgrade: bool,
}

/// A call as it travels, its NUL included.
pub fn encode(call: &Call, upgrade: bool) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(&Request { call, upgrade })?;
    bytes.push(0);
    Ok(bytes)
}

/// Takes the first message off `buffer`, without its NUL; `None` while it is not whole.
pub fn split(buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, ReplyError> {
    match buffer.iter().position(|byte| *byte == 0) {
        Some(end) => {
            let mut message: Vec<u8> = buffer.drain(..=end).collect();
            message.pop();
            Ok(Some(message))
        }
        None if buffer.len() > MESSAGE_MAX => Err(ReplyError::TooLong),
        None => Ok(None),
    }
}

#[derive(Deserialize)]
struct Reply {
    error: Option<String>,
    #[serde(default)]
    parameters: Value,
}

/// The result that a message carries.
pub fn parse_reply<T: DeserializeOwned>(message: &[u8]) -> Result<T, ReplyError> {
    let reply: Reply = serde_json::from_slice(message).map_err(ReplyError::NotUnderstood)?;
    let Some(error) = reply.error else {
        return serde_json::from_value(reply.parameters).map_err(ReplyError::NotUnderstood);
    };
    let fault = serde_json::json!({"error": &error, "parameters": reply.parameters});
    Err(match serde_json::from_value(fault) {
        Ok(fault) => ReplyError::Fault(fault),
        Err(_) => ReplyError::UnknownFault(error),
    })
}

#[cfg(test)]
mod tests {
    use berth_units::Name;
    use berth_units::wire::control::{Logs, State};

    use super::*;

    #[test]
    fn calls_are_varlink() {
        assert_eq!(
            encode(&Call::Status {}, false).unwrap(),
            b"{\"method\":\"io.berth.Control.Status\",\"parameters\":{}}\0"
        );
        let logs = Call::Logs(Logs { unit: Name::parse("web").unwrap(), follow: true, tail: Some(3) });
        assert_eq!(
            encode(&logs, true).unwrap(),
            b"{\"method\":\"io.berth.Control.Logs\",\"parameters\":{\"unit\":\"web\",\"follow\":true,\"tail\":3},\
              \"upgrade\":true}\0"
        );
    }

    #[test]
    fn messages_are_split_at_nul_and_the_rest_is_kept() {
        let mut buffer = b"{\"a\":1}".to_vec();
        assert!(split(&mut buffer).unwrap().is_none());
        buffer.extend(b"\0frames");
        assert_eq!(split(&mut buffer).unwrap().unwrap(), b"{\"a\":1}");
        assert_eq!(buffer, b"frames");
        assert!(matches!(split(&mut vec![b' '; MESSAGE_MAX + 1]), Err(ReplyError::TooLong)));
    }

    #[test]
    fn faults_are_told_apart() {
        let fault = parse_reply::<Value>(
            br#"{"error":"io.berth.Control.WrongState","parameters":{"unit":"web","state":"backoff"}}"#,
        );
        assert!(matches!(fault, Err(ReplyError::Fault(Fault::WrongState { state: State::Backoff, .. }))));
        let fault = parse_reply::<Value>(br#"{"error":"io.berth.Control.New"}"#);
        assert!(matches!(fault, Err(ReplyError::UnknownFault(name)) if name == "io.berth.Control.New"));
        assert!(matches!(parse_reply::<Value>(b"nonsense"), Err(ReplyError::NotUnderstood(_))));
        assert!(parse_reply::<serde::de::IgnoredAny>(b"{}").is_ok());
    }
}
