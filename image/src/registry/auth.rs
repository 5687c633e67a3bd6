//! What a registry wants to see before it answers: `WWW-Authenticate` (RFC 9110, 11.6.1) and the token that
//! distribution's token specification describes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credentials;

/// Longest header that is looked at, bytes.
const MAX_HEADER: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from somebody else.
    Bearer {
        /// Where the token is.
        realm: String,
        /// What it is for.
        service: Option<String>,
        /// What is allowed with it.
        scope: Option<String>,
    },
}

/// Answer of a token service.
#[derive(Deserialize)]
pub struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    /// The token, of either name.
    pub fn text(self) -> Option<String> {
        self.token.or(self.access_token).filter(|text| !text.is_empty())
    }
}

impl Challenge {
    /// Parses one header; none for a scheme that we do not speak.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) =
            header.get(..MAX_HEADER.min(header.len()))?.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest;
        while let Some((key, behind)) = rest.split_once('=') {
            let (value, behind) = match behind.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => behind.split_once(',').map_or((behind, ""), |(value, behind)| (value, behind)),
            };
            let value = Some(value.to_owned());
            match key.trim_start_matches([',', ' ']).to_ascii_lowercase().as_str() {
                "realm" => realm = value,
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
            rest = behind;
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// The value of `Authorization` for name and password.
pub fn basic(credentials: &Credentials) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", credentials.user, credentials.password)))
}

/// Text as it may stand in the query of a URL.
pub fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                out.push(byte.into())
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        for (header, expect) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            ("Negotiate abc", None),
            ("Bearer", None),
            ("Bearer service=\"x\"", None),
            ("Bearer realm=\"https://a/t\"", Some(bearer("https://a/t", None, None))),
            (
                "Bearer realm=\"https://a/t\",service=\"reg\", scope=\"repository:a/b:pull,push\"",
                Some(bearer("https://a/t", Some("reg"), Some("repository:a/b:pull,push"))),
            ),
            ("bearer realm=https://a/t,service=reg", Some(bearer("https://a/t", Some("reg"), None))),
            ("Bearer realm=\"https://a", None),
        ] {
            assert_eq!(Challenge::parse(header), expect, "{header}");
        }
    }

    #[test]
    fn queries_and_passwords() {
        assert_eq!(percent("repository:a/b:pull&x=1 ü"), "repository:a/b:pull%26x%3D1%20%C3%BC");
        let user = Credentials { user: "u".to_owned(), password: "p".to_owned() };
        assert_eq!(basic(&user), "Basic dTpw");
        assert!(!format!("{user:?}").contains("\"p\""));
    }
}
