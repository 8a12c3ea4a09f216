//! The registry's side of the protocol.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::image::OCI_INDEX;
use super::{Fault, Recorded, Repository, Shared};

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// The right answer, before anything is done to it.
struct Plain {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// Listens on the port, waiting for it to be given back if it was in use a moment ago.
pub(super) async fn bind(port: u16) -> TcpListener {
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("port {port} is not given back");
}

/// Answers until cancelled; then every connection closes.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, token: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = token.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (shared, token) = (Arc::clone(&shared), token.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection(stream, shared) => (),
                () = token.cancelled() => (),
            }
        });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let reset = Arc::new(AtomicBool::new(false));
    let connection = Connection {
        stream,
        reset: Arc::clone(&reset),
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, reset) = (Arc::clone(&shared), Arc::clone(&reset));
        async move { answer(&shared, &reset, &request).await }
    });
    // Broken connections are what this registry is for.
    drop(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(connection), service)
            .await,
    );
}

async fn answer(
    shared: &Shared,
    reset: &AtomicBool,
    request: &Request<Incoming>,
) -> io::Result<Response<Body>> {
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let recorded = Recorded {
        method: request.method().to_string(),
        path,
        headers: request.headers().clone(),
        at: Instant::now(),
    };
    let line = recorded.line();
    shared.requests.lock().unwrap().push(recorded);
    let latency = *shared.latency.lock().unwrap();
    tokio::time::sleep(latency).await;
    let fault = {
        let mut rules = shared.rules.lock().unwrap();
        rules.iter_mut().find_map(|rule| rule.take(&line))
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => {
            reset.store(true, Ordering::Relaxed);
            return Err(io::Error::other("reset on purpose"));
        }
        Some(Fault::Delay(pause)) => tokio::time::sleep(pause).await,
        _ => (),
    }
    let plain = match &fault {
        Some(Fault::Answer {
            status,
            headers,
            body,
        }) => Plain {
            status: *status,
            headers: headers.clone(),
            body: body.clone(),
        },
        Some(Fault::Status(status)) => error(*status, "UNKNOWN"),
        Some(Fault::RedirectTo(origin)) => {
            let path = request.uri().path_and_query().unwrap();
            redirect(format!("{origin}{path}"))
        }
        Some(Fault::Redirect(location)) => redirect(location.clone()),
        Some(Fault::Throttled(seconds)) => {
            let mut plain = error(429, "TOOMANYREQUESTS");
            plain.headers.push(("Retry-After", seconds.to_string()));
            plain
        }
        _ => route(shared, request),
    };
    let is_head = request.method() == http::Method::HEAD;
    Ok(response(plain, fault.as_ref(), is_head))
}

fn response(mut plain: Plain, fault: Option<&Fault>, is_head: bool) -> Response<Body> {
    // A fault of the body happens to content only: what is not there has none.
    let fault = fault.filter(|_| plain.status < 300);
    if let Some(Fault::ContentType(_) | Fault::NoContentType) = fault {
        plain.headers.retain(|(name, _)| *name != "Content-Type");
    }
    if let Some(Fault::ContentType(other)) = fault {
        plain.headers.push(("Content-Type", (*other).to_owned()));
    }
    if let Some(Fault::Without(unwanted)) = fault {
        plain
            .headers
            .retain(|(name, _)| !name.eq_ignore_ascii_case(unwanted));
    }
    if let Some(Fault::Header(name, value)) = fault {
        plain.headers.retain(|(other, _)| other != name);
        plain.headers.push((*name, (*value).to_owned()));
    }
    let mut response = Response::builder().status(plain.status);
    for (name, value) in &plain.headers {
        response = response.header(*name, value);
    }
    if fault.is_none_or(Fault::announces_length) {
        let length = match fault {
            Some(Fault::Announce(length)) => *length,
            _ => plain.body.len(),
        };
        response = response.header("Content-Length", length);
    }
    let body = match fault {
        _ if is_head => futures::stream::empty().boxed(),
        Some(fault) => fault.body(plain.body),
        None => futures::stream::iter([Ok(plain.body)]).boxed(),
    };
    let body = body.map(|piece| piece.map(Frame::data)).boxed();
    response.body(StreamBody::new(body)).unwrap()
}

fn error(status: u16, code: &str) -> Plain {
    let body = json!({"errors": [{"code": code, "message": "said by the fake registry"}]});
    Plain {
        status,
        headers: vec![("Content-Type", "application/json".to_owned())],
        body: body.to_string().into(),
    }
}

fn redirect(location: String) -> Plain {
    Plain {
        status: 307,
        headers: vec![("Location", location)],
        body: Bytes::new(),
    }
}

fn content(media_type: &str, body: Bytes) -> Plain {
    Plain {
        status: 200,
        headers: vec![("Content-Type", media_type.to_owned())],
        body,
    }
}

fn route(shared: &Shared, request: &Request<Incoming>) -> Plain {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    let port = request.headers()["host"].to_str().unwrap();
    let port = port.rsplit(':').next().unwrap();
    if path.ends_with("/token") {
        let handed_out = shared.own_tokens.lock().unwrap().hand_out(path, query);
        match handed_out {
            Some(Ok(answer)) => return content("application/json", answer.to_string().into()),
            Some(Err(location)) => return redirect(location),
            None => (),
        }
        let token = json!({"token": format!("token-of-{port}"), "expires_in": 300});
        return content("application/json", token.to_string().into());
    }
    if !matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
        return error(405, "UNSUPPORTED");
    }
    if let Some(tokens) = &shared.tokens {
        let wanted = format!("Bearer {}", tokens.token);
        if request
            .headers()
            .get("authorization")
            .map(http::HeaderValue::as_bytes)
            != Some(wanted.as_bytes())
        {
            let mut refusal = error(401, "UNAUTHORIZED");
            refusal.headers.push((
                "WWW-Authenticate",
                format!(
                    "Bearer realm=\"http://127.0.0.1:{}/token\",service=\"fake\"",
                    tokens.realm_port
                ),
            ));
            return refusal;
        }
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if parts == ["v2"] {
        return content("application/json", Bytes::from_static(b"{}"));
    }
    let [v2, rest @ .., verb, last] = parts.as_slice() else {
        return error(404, "NAME_UNKNOWN");
    };
    let Some(name) = rest.get(shared.ignored_components..) else {
        return error(404, "NAME_UNKNOWN");
    };
    let name = name.join("/");
    let authorization = request.headers().get("authorization");
    let authorization = authorization.map_or("", |value| value.to_str().unwrap());
    let tokens = shared.own_tokens.lock().unwrap();
    if let Some(challenge) = tokens.challenge(port, &name, authorization) {
        let mut refusal = error(401, "UNAUTHORIZED");
        refusal.headers.push(("WWW-Authenticate", challenge));
        return refusal;
    }
    drop(tokens);
    let repositories = shared.repositories.lock().unwrap();
    let Some(repository) = repositories.get(&name).filter(|_| *v2 == "v2") else {
        return error(404, "NAME_UNKNOWN");
    };
    match (*verb, *last) {
        ("manifests", reference) => manifest(repository, reference),
        ("blobs", digest) => blob(repository, digest, request.headers()),
        ("referrers", digest) => referrers(repository, digest, path, query),
        ("tags", "list") => tags(repository, &name, path, query),
        _ => error(404, "NAME_UNKNOWN"),
    }
}

fn manifest(repository: &Repository, reference: &str) -> Plain {
    let alternating = repository.alternating.get(reference);
    let digest = match (alternating, repository.tags.get(reference)) {
        (Some(alternating), _) => alternating.draw(),
        (None, Some(digest)) => digest.as_str(),
        (None, None) => reference,
    };
    let Some((media_type, bytes)) = repository.manifests.get(digest) else {
        return error(404, "MANIFEST_UNKNOWN");
    };
    let mut plain = content(media_type, bytes.clone());
    plain
        .headers
        .push(("Docker-Content-Digest", digest.to_owned()));
    plain
}

fn blob(repository: &Repository, digest: &str, headers: &HeaderMap) -> Plain {
    let bytes = match (
        repository.blobs.get(digest),
        repository.manifests.get(digest),
    ) {
        (Some(bytes), _) | (None, Some((_, bytes))) => bytes.clone(),
        (None, None) => return error(404, "BLOB_UNKNOWN"),
    };
    let mut plain = content("application/octet-stream", bytes.clone());
    plain
        .headers
        .push(("Docker-Content-Digest", digest.to_owned()));
    plain.headers.push(("Accept-Ranges", "bytes".to_owned()));
    let range = headers
        .get("range")
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'));
    let Some((first, last)) = range else {
        return plain;
    };
    let Ok(first) = first.parse::<usize>() else {
        return plain;
    };
    if first >= bytes.len() {
        return error(416, "SIZE_INVALID");
    }
    let last = last.parse().unwrap_or(usize::MAX).min(bytes.len() - 1);
    plain.status = 206;
    plain.body = bytes.slice(first..=last);
    plain.headers.push((
        "Content-Range",
        format!("bytes {first}-{last}/{}", bytes.len()),
    ));
    plain
}

fn referrers(repository: &Repository, digest: &str, path: &str, query: &str) -> Plain {
    if !repository.has_referrers_api {
        return error(404, "NAME_UNKNOWN");
    }
    let Some(page) = repository.page_of_referrers(digest, path, query) else {
        return error(405, "UNSUPPORTED");
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.entries,
    });
    linked(content(OCI_INDEX, index.to_string().into()), page.link)
}

fn tags(repository: &Repository, name: &str, path: &str, query: &str) -> Plain {
    let Some(page) = repository.page_of_tags(path, query) else {
        return error(405, "UNSUPPORTED");
    };
    let list = json!({"name": name, "tags": page.entries});
    linked(
        content("application/json", list.to_string().into()),
        page.link,
    )
}

fn linked(mut plain: Plain, link: Option<String>) -> Plain {
    plain.headers.extend(link.map(|link| ("Link", link)));
    plain
}

/// A connection that can end with a reset.
struct Connection {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            self.stream.set_zero_linger().unwrap();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
