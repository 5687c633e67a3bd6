//! Requests to one registry or mirror: authorization, redirects, and what its answers mean.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::Response;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::auth::{Challenge, Token, basic, percent};
use super::{Credentials, RegistryError, Settings};
use berth_units::Reference;

/// Most redirects in a row.
const MAX_REDIRECTS: usize = 5;
/// Longest answer of a token service, bytes.
const MAX_TOKEN: u64 = 1 << 20;
/// Longest answer of an error, bytes.
const MAX_ERROR: u64 = 64 << 10;
/// How many times the longest silence a short body may take as a whole.
const MAX_SILENCES: u32 = 4;
/// Longest text of an error that is shown, characters.
const MAX_WHY: usize = 300;

/// One place that may have an image.
#[derive(Debug)]
pub struct Endpoint {
    agent: Agent,
    /// `https://host:port`.
    origin: String,
    /// `host:port`, for messages.
    pub host: String,
    repository: String,
    /// Behind every path: for whom a mirror is asked, as containerd sends it.
    query: String,
    credentials: Option<Credentials>,
    plain: bool,
    idle: Duration,
    /// Value of `Authorization`, once it is known.
    authorization: Mutex<Option<String>>,
}

/// The mirrors in their order and then the registry.
pub fn endpoints(reference: &Reference, settings: &Settings) -> Result<Vec<Endpoint>, RegistryError> {
    let registry = reference.registry();
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let endpoint = |host: &str, plain: bool, mirror: bool| {
        let scheme = if plain { "http" } else { "https" };
        Ok::<_, RegistryError>(Endpoint {
            agent: agent(settings, plain)?,
            origin: format!("{scheme}://{host}"),
            host: host.to_owned(),
            repository: reference.repository().to_owned(),
            query: if mirror { format!("?ns={}", percent(registry)) } else { String::new() },
            credentials: settings.credentials.clone().filter(|_| !mirror),
            plain,
            idle: settings.idle,
            authorization: Mutex::new(None),
        })
    };
    let mut endpoints = Vec::new();
    for mirror in &settings.mirrors {
        let plain = mirror.strip_prefix("http://");
        let host = plain.or(mirror.strip_prefix("https://")).unwrap_or(mirror);
        endpoints.push(endpoint(host.trim_end_matches('/'), plain.is_some(), true)?);
    }
    endpoints.push(endpoint(host, settings.plain_http, false)?);
    Ok(endpoints)
}

fn agent(settings: &Settings, plain: bool) -> Result<Agent, RegistryError> {
    let builder = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .https_only(!plain)
        .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(settings.idle.min(Duration::from_secs(15))))
        .timeout_recv_response(Some(settings.idle))
        .timeout_per_read(Some(settings.idle))
        .timeout_per_write(Some(settings.idle));
    // Also where plain HTTP is spoken: a redirect or a token service may lead to TLS.
    let refused = |what| move |error| RegistryError::Certificates(what, Box::new(error));
    let roots = certificates(&settings.roots).map_err(refused("root certificates"))?;
    if roots.is_empty() && !plain {
        return Err(RegistryError::NoRoots);
    }
    let client = settings.client.as_ref().filter(|_| !plain).map(|(chain, key)| {
        let chain = certificates(chain).map_err(refused("client certificate"))?;
        let key = PrivateKey::from_pem(key).map_err(refused("key of the client certificate"))?;
        Ok::<_, RegistryError>(ClientCert::new_with_certs(&chain, key))
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(client.transpose()?)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Ok(builder.tls_config(tls.build()).build().new_agent())
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, ureq::Error> {
    let items = parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    items.collect()
}

impl Endpoint {
    /// Asks for a manifest or a blob of the repository: `manifests/1.4`, `blobs/sha256:…`. Gives an answer of status
    /// 200 or 206.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, RegistryError> {
        let url = format!("{}/v2/{}/{path}{}", self.origin, self.repository, self.query);
        let mut asked = false;
        loop {
            let authorization = self.lock().clone();
            let (mut response, ours) = self.follow(&url, headers, authorization.as_deref())?;
            match response.status().as_u16() {
                200 | 206 => return Ok(response),
                // Not what another host asks for: it would say where the password goes.
                401 if !asked && ours => {
                    asked = true;
                    self.authorize(&response)?;
                }
                401 | 403 => {
                    return Err(self.denied(self.why(&mut response)));
                }
                404 => return Err(self.not_found(path)),
                status @ (429 | 500..=599) => {
                    let after = header(&response, "retry-after").and_then(|text| text.trim().parse().ok());
                    let after = after.map(Duration::from_secs);
                    return Err(RegistryError::Busy { host: self.host.clone(), status, after });
                }
                status => {
                    let why = self.why(&mut response);
                    return Err(RegistryError::Status { host: self.host.clone(), status, why });
                }
            }
        }
    }

    /// Follows redirects. Authorization stays with the host it is for; tells whether the answer is that host's.
    fn follow(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        authorization: Option<&str>,
    ) -> Result<(Response<Body>, bool), RegistryError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let ours = origin(&url) == self.origin;
            let mut request = self.agent.get(&url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(value) = authorization.filter(|_| ours) {
                request = request.header("authorization", value);
            }
            let response = request.call().map_err(|error| self.connection(error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((response, ours));
            }
            let target = header(&response, "location").unwrap_or_default();
            url = self.resolve(&url, target)?;
        }
        Err(self.protocol(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// The target of a redirect; never from TLS to plain HTTP.
    fn resolve(&self, from: &str, target: &str) -> Result<String, RegistryError> {
        let url = match target.starts_with('/') && !target.starts_with("//") {
            true => format!("{}{target}", origin(from)),
            false => target.to_owned(),
        };
        match url.starts_with("https://") || (self.plain && url.starts_with("http://")) {
            true => Ok(url),
            false => {
                let shown: String = target.chars().take(200).collect();
                Err(self.protocol(format!("a redirect to '{shown}'")))
            }
        }
    }

    fn denied(&self, why: Option<String>) -> RegistryError {
        RegistryError::Denied { host: self.host.clone(), repository: self.repository.clone(), why }
    }

    /// Gets what the registry asks for.
    fn authorize(&self, response: &Response<Body>) -> Result<(), RegistryError> {
        let denied = || self.denied(None);
        let headers = response.headers().get_all("www-authenticate");
        let mut challenges =
            headers.iter().filter_map(|value| value.to_str().ok()).filter_map(Challenge::parse);
        let value = match challenges.next().ok_or_else(denied)? {
            Challenge::Basic => basic(self.credentials.as_ref().ok_or_else(denied)?),
            Challenge::Bearer { realm, service, scope } => self.token(&realm, service, scope)?,
        };
        *self.lock() = Some(value);
        Ok(())
    }

    fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<String, RegistryError> {
        let secure = realm.starts_with("https://") || (self.plain && realm.starts_with("http://"));
        if !secure {
            let shown: String = realm.chars().take(200).collect();
            return Err(self.protocol(format!("its token service '{shown}' is not one over TLS")));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mark = if realm.contains('?') { '&' } else { '?' };
        let mut url = format!("{realm}{mark}scope={}", percent(&scope));
        if let Some(service) = service {
            url.push_str(&format!("&service={}", percent(&service)));
        }
        let mut request = self.agent.get(&url);
        if let Some(credentials) = &self.credentials {
            request = request.header("authorization", basic(credentials));
        }
        let mut response = request.call().map_err(|error| self.connection(error))?;
        match response.status().as_u16() {
            200 => {}
            status @ (429 | 500..=599) => {
                return Err(RegistryError::Busy { host: self.host.clone(), status, after: None });
            }
            _ => return Err(self.denied(self.why(&mut response))),
        }
        let bytes = self.read_soon(&mut response, MAX_TOKEN)?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token =
            token.and_then(Token::text).ok_or_else(|| self.protocol("its token is none".to_owned()))?;
        Ok(format!("Bearer {token}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, error: ureq::Error) -> RegistryError {
        match error {
            ureq::Error::LargeResponseHeader(..) => {
                self.protocol("the header of its answer is too long".to_owned())
            }
            error => RegistryError::Connection { host: self.host.clone(), source: error.into_io() },
        }
    }

    fn not_found(&self, path: &str) -> RegistryError {
        let what = match path.split_once('/') {
            Some(("manifests", name)) => format!("image '{name}'"),
            _ => format!("blob '{}'", path.trim_start_matches("blobs/")),
        };
        RegistryError::NotFound { host: self.host.clone(), repository: self.repository.clone(), what }
    }

    /// A short body, or the start of a longer one. Each read bounds a silence, and this a trickle: the store is locked.
    pub fn read_soon(&self, response: &mut Response<Body>, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let broken = |source| RegistryError::Broken { host: self.host.clone(), source };
        let end = Instant::now() + self.idle.saturating_mul(MAX_SILENCES);
        let mut reader = response.body_mut().as_reader().take(limit);
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            let count = reader.read(&mut buffer).map_err(broken)?;
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { return Ok(bytes) };
            bytes.extend_from_slice(read);
            if Instant::now() >= end {
                return Err(broken(io::Error::new(io::ErrorKind::TimedOut, "it is too slow")));
            }
        }
    }

    /// What the registry says itself: the first message of its errors (distribution-spec, "Error Codes").
    fn why(&self, response: &mut Response<Body>) -> Option<String> {
        let bytes = self.read_soon(response, MAX_ERROR).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let text = value.pointer("/errors/0/message").or(value.pointer("/details"))?.as_str()?;
        let text: String = text.chars().take(MAX_WHY).collect();
        Some(text).filter(|text| !text.is_empty())
    }

    /// Something that is against the protocol.
    pub fn protocol(&self, what: String) -> RegistryError {
        RegistryError::Protocol { host: self.host.clone(), what }
    }
}

/// A header that is text.
pub fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| start + at);
    url.get(..end).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(plain: bool) -> Endpoint {
        let settings = Settings { plain_http: true, ..Settings::default() };
        let reference = Reference::parse("reg.example:5000/a/b:1").unwrap();
        let mut endpoint = endpoints(&reference, &settings).unwrap().pop().unwrap();
        endpoint.plain = plain;
        endpoint
    }

    #[test]
    fn redirects_stay_secure() {
        for (plain, target, expect) in [
            (false, "/x?y", Some("https://h:1/x?y")),
            (false, "https://cdn/z", Some("https://cdn/z")),
            (false, "http://h:1/x", None),
            (true, "http://h:1/x", Some("http://h:1/x")),
            (true, "file:///etc/passwd", None),
            (false, "//evil/x", None),
            (false, "", None),
        ] {
            let found = endpoint(plain).resolve("https://h:1/v2/a?b=c", target).ok();
            assert_eq!(found.as_deref(), expect, "{target}");
        }
        assert_eq!(origin("https://h:1?x=/"), "https://h:1");
    }

    #[test]
    fn mirrors_come_first_and_are_told_nothing() {
        let credentials = Some(Credentials { user: "u".to_owned(), password: "p".to_owned() });
        let mirrors = vec!["http://m1:80/".to_owned()];
        let settings = Settings { credentials, mirrors, plain_http: true, ..Settings::default() };
        let found = endpoints(&Reference::parse("nginx").unwrap(), &settings).unwrap();
        let origins: Vec<_> = found.iter().map(|endpoint| endpoint.origin.as_str()).collect();
        assert_eq!(origins, ["http://m1:80", "http://registry-1.docker.io"]);
        assert_eq!(found[0].query, "?ns=docker.io");
        assert!(found[0].credentials.is_none() && found[1].credentials.is_some());
        let tls = Settings { plain_http: false, ..Settings::default() };
        assert!(matches!(endpoints(&Reference::parse("x").unwrap(), &tls), Err(RegistryError::NoRoots)));
    }
}
