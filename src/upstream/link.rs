//! `Link: <…>; rel="next"`: where the next page of a list is (RFC 8288, distribution specification "Listing Tags").

use http::HeaderMap;
use http::header::LINK;
use url::Url;

/// The link leads away from the upstream, so following it could take our credentials along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the next page is at another host")]
pub(super) struct ForeignLink(());

/// Path and query of the page after `page`, if there is one.
///
/// # Errors
/// When there is one at another origin than the upstream's.
pub(super) fn next_page(
    headers: &HeaderMap,
    page: &Url,
    upstream: &Url,
) -> Result<Option<String>, ForeignLink> {
    let links = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let Some(target) = links.into_iter().find_map(next_target) else {
        return Ok(None);
    };
    resolve(target, page, upstream).map(Some)
}

/// `target`, as a link on `page`, as path and query at the upstream.
///
/// # Errors
/// When it is anywhere else.
pub(super) fn resolve(target: &str, page: &Url, upstream: &Url) -> Result<String, ForeignLink> {
    let next = page
        .join(target)
        .ok()
        .filter(|next| next.origin() == upstream.origin());
    let next = next.ok_or(ForeignLink(()))?;
    Ok(next.query().map_or_else(
        || next.path().to_owned(),
        |query| format!("{}?{query}", next.path()),
    ))
}

/// The target of the first link with relation `next` in one header value.
fn next_target(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let parameters = after
            .split_once('<')
            .map_or(after, |(parameters, _)| parameters);
        if parameters.split([';', ',']).any(is_next) {
            return Some(target);
        }
        rest = after;
    }
    None
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel")
        && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn next(values: &[&str]) -> Result<Option<String>, ForeignLink> {
        next_on("https://ghcr.io/v2/a/tags/list?n=2", values)
    }

    fn next_on(page: &str, values: &[&str]) -> Result<Option<String>, ForeignLink> {
        let url = |text: &str| Url::parse(text).unwrap();
        let links = values
            .iter()
            .map(|value| (LINK, HeaderValue::from_str(value).unwrap()));
        next_page(&links.collect(), &url(page), &url("https://ghcr.io/"))
    }

    #[test]
    fn finds_the_next_page() {
        let expected = Ok(Some("/v2/a/tags/list?last=x&n=2".to_owned()));
        for value in [
            r#"</v2/a/tags/list?last=x&n=2>; rel="next""#,
            "</v2/a/tags/list?last=x&n=2>;rel=next",
            "<list?last=x&n=2>; REL=\"prefetch Next\"",
            r#"</first>; rel="first", </v2/a/tags/list?last=x&n=2>; title=x; rel="next""#,
            r#"<https://ghcr.io/v2/a/tags/list?last=x&n=2>; rel="next""#,
            r#"<https://ghcr.io:443/v2/a/tags/list?last=x&n=2>; rel="next""#,
        ] {
            assert_eq!(next(&[value]), expected, "{value}");
        }
        assert_eq!(
            next(&["</y>; rel=prev", "</v2/a/tags/list?last=x&n=2>; rel=next"]),
            expected
        );
        for value in ["", "</x>", "</x>; rel=prev", "</x; rel=next", "x; rel=next"] {
            assert_eq!(next(&[value]), Ok(None), "{value}");
        }
    }

    #[test]
    fn never_leaves_the_upstream() {
        for value in [
            "<https://evil.example/v2/a/tags/list>; rel=next",
            "<//evil.example/v2>; rel=next",
            "<http://ghcr.io/v2/a/tags/list>; rel=next",
            "<https://ghcr.io:444/v2>; rel=next",
            "<\\\\evil.example/v2>; rel=next",
            "<file:///etc/passwd>; rel=next",
        ] {
            assert_eq!(next(&[value]), Err(ForeignLink(())), "{value}");
        }
        // A list that a redirect led to must not go on there.
        let redirected = next_on("https://storage.example/list", &["<more>; rel=next"]);
        assert_eq!(redirected, Err(ForeignLink(())));
    }
}
