//! Who gets a password, and where redirects may lead: a client against registries that mean ill.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::bench::{Bench, honest, image, lying};
use crate::server::{Answer, Asked, serve};
use berth_image::registry::Credentials;
use serde_json::json;

#[test]
fn redirects() {
    lying(
        "loop",
        |_, _, _| Answer::new(302, "").with("Location", "/v2/shop/web/manifests/1"),
        &["more than 5 redirects"],
    );
    lying(
        "scheme",
        |_, _, _| Answer::new(307, "").with("Location", "file:///etc/passwd"),
        &["a redirect to 'file:"],
    );
    lying("nowhere", |_, _, _| Answer::new(301, ""), &["a redirect to ''"]);
    // To another host goes the request, and not the password.
    let layout = Arc::new(image());
    let storage = layout.clone();
    let (cdn, _) = serve(move |asked| match asked.header("authorization") {
        Some(_) => Answer::new(500, "a password came here"),
        None => honest(&storage, &Asked { path: asked.path.replace("/cdn", ""), headers: Vec::new() }),
    });
    let (address, _) = serve(move |asked| match asked.header("authorization") {
        None => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) if asked.path.contains("blobs") => {
            Answer::new(307, "").with("Location", format!("http://{cdn}/cdn{}", asked.path))
        }
        Some(value) => {
            assert_eq!(value, "Basic dTpw");
            honest(&layout, asked)
        }
    });
    let mut bench = Bench::new("cdn", &address);
    bench.settings.credentials = Some(Credentials { user: "u".to_owned(), password: "p".to_owned() });
    assert!(bench.pull().unwrap().new);
    bench.verified();
}

/// The host that a redirect leads to gets no password, and does not say where one goes.
#[test]
fn another_host_asks_for_a_password() {
    for challenge in ["Basic realm=\"x\"", "Bearer realm=\"http://HOST/token\""] {
        let stolen = Arc::new(AtomicUsize::new(0));
        let seen = stolen.clone();
        let (thief, log) = serve(move |asked| {
            seen.fetch_add(asked.header("authorization").map_or(0, |_| 1), Ordering::Relaxed);
            let host = asked.header("host").unwrap();
            Answer::new(401, "").with("WWW-Authenticate", challenge.replace("HOST", host))
        });
        let (address, _) = serve(move |_| Answer::new(307, "").with("Location", format!("http://{thief}/x")));
        let mut bench = Bench::new("thief", &address);
        bench.settings.credentials = Some(Credentials { user: "u".to_owned(), password: "p".to_owned() });
        bench.refused(&["refuses access"]);
        assert_eq!(*log.lock().unwrap(), ["/x"]);
        assert_eq!(stolen.load(Ordering::Relaxed), 0);
    }
}

/// From plain HTTP to TLS: an error, as nothing is trusted here and nobody answers there.
#[test]
fn a_redirect_from_plain_http_to_tls() {
    let (nobody, _) = serve(|_| Answer::new(200, ""));
    let target = format!("https://{nobody}/x");
    let (address, _) = serve(move |_| Answer::new(307, "").with("Location", target.clone()));
    Bench::new("to-tls", &address).refused(&["127.0.0.1"]);
}

#[test]
fn documents_that_trickle() {
    let layout = image();
    let (address, _) =
        serve(move |asked| Answer { drip: Some(Duration::from_millis(50)), ..honest(&layout, asked) });
    let mut bench = Bench::new("trickle", &address);
    (bench.settings.idle, bench.settings.tries) = (Duration::from_millis(500), 1);
    bench.refused(&["the connection to", "it is too slow"]);
}

#[test]
fn authorization() {
    let basic = "Basic realm=\"x\"";
    lying(
        "no-user",
        |_, _, _| Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        &["refuses access"],
    );
    lying("odd", |_, _, _| Answer::new(401, "").with("WWW-Authenticate", "Negotiate"), &["refuses access"]);
    lying(
        "realm",
        |_, _, _| Answer::new(401, "").with("WWW-Authenticate", "Bearer realm=\"ftp://x/\""),
        &["token service 'ftp://x/' is not one over TLS"],
    );
    // It asks again whatever it is told: once more, and then never again.
    let (address, log) = serve(move |_| {
        Answer::new(401, r#"{"errors":[{"message":"wrong password"}]}"#).with("WWW-Authenticate", basic)
    });
    let mut bench = Bench::new("again", &address);
    bench.settings.credentials = Some(Credentials { user: "u".to_owned(), password: "p".to_owned() });
    bench.refused(&["refuses access to 'shop/web': wrong password"]);
    assert_eq!(log.lock().unwrap().len(), 2);
}

/// A token is asked for with the password, used without it, and asked for again when it is over in the middle.
#[test]
fn tokens_that_expire() {
    let layout = image();
    let count = Arc::new(AtomicUsize::new(0));
    let (tokens, token_log) = serve({
        let count = count.clone();
        move |asked| match asked.header("authorization") {
            Some("Basic dTpw") => {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                Answer::new(200, json!({"token": format!("t{number}")}).to_string())
            }
            _ => Answer::new(401, ""),
        }
    });
    let (address, _) = serve(move |asked| {
        // The first token is good for the documents only.
        let good = if asked.path.contains(&layout.layers[1].to_string()) { "Bearer t2" } else { "Bearer t" };
        match asked.header("authorization").filter(|value| value.starts_with(good)) {
            Some(_) => honest(&layout, asked),
            None => {
                let challenge = format!("Bearer realm=\"http://{tokens}/token\",service=\"reg\"");
                Answer::new(401, "").with("WWW-Authenticate", challenge)
            }
        }
    });
    let mut bench = Bench::new("tokens", &address);
    bench.settings.credentials = Some(Credentials { user: "u".to_owned(), password: "p".to_owned() });
    bench.settings.parallel = 1;
    bench.pull().unwrap();
    bench.verified();
    let asked = token_log.lock().unwrap();
    assert_eq!(*asked, ["/token?scope=repository:shop/web:pull&service=reg"; 2]);
}
