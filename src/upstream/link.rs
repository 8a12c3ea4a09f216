//! `Link: <…>; rel="next"`: the next page of a list (RFC 8288, distribution specification "Listing Tags").

use http::HeaderMap;
use http::header::LINK;
use url::Url;

use super::NextPage;
use crate::oci::PageQuery;

/// The page after `page`, by the query of the first `next` link. The link's scheme, host and path are not used: behind
/// a reverse proxy they are often those of an inner server, and following them could take credentials to another host
/// (CVE-2026-24117). The next page is asked for where the list itself is.
pub(super) fn next_page(headers: &HeaderMap, page: &Url) -> NextPage {
    let links = headers.get_all(LINK).iter();
    let target = links.into_iter().find_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        next_target(&text).map(str::to_owned)
    });
    match target {
        None => NextPage::None,
        Some(target) => {
            let Ok(next) = page.join(&target) else {
                return NextPage::Unusable;
            };
            match PageQuery::parse(next.query().unwrap_or_default()) {
                Ok(Some(query)) => NextPage::At(query),
                Ok(None) if next.path() == page.path() => NextPage::First,
                Ok(None) | Err(_) => NextPage::Unusable,
            }
        }
    }
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

    fn next(values: &[&str]) -> NextPage {
        let page = Url::parse("https://ghcr.io/v2/a/tags/list?n=2").unwrap();
        let links = values
            .iter()
            .map(|value| (LINK, HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        next_page(&links.collect(), &page)
    }

    fn at(query: &str) -> NextPage {
        NextPage::At(PageQuery::parse(query).unwrap().unwrap())
    }

    #[test]
    fn finds_the_next_page() {
        let expected = at("last=x&n=2");
        for value in [
            r#"</v2/a/tags/list?last=x&n=2>; rel="next""#,
            "</v2/a/tags/list?last=x&n=2>;rel=next",
            "<list?last=x&n=2>; REL=\"prefetch Next\"",
            "<?last=x&n=2>; rel=next",
            r#"</first?last=y>; rel="first", </v2/a/tags/list?last=x&n=2>; title=x; rel="next""#,
            r#"<https://ghcr.io/v2/a/tags/list?last=x&n=2>; rel="next""#,
        ] {
            assert_eq!(next(&[value]), expected, "{value}");
        }
        assert_eq!(
            next(&[
                "</y?last=z>; rel=prev",
                "</v2/a/tags/list?last=x&n=2>; rel=next"
            ]),
            expected
        );
        for value in [
            "",
            "</x>",
            "</x?a=b>; rel=prev",
            "</x?a=b; rel=next",
            "x; rel=next",
        ] {
            assert_eq!(next(&[value]), NextPage::None, "{value}");
        }
    }

    #[test]
    fn takes_the_query_of_a_link_to_another_origin() {
        for value in [
            "<https://evil.example/v2/a/tags/list?next_page=x>; rel=next",
            "<//evil.example/v2?next_page=x>; rel=next",
            "<http://registry.internal:5000/v2/b/tags/list?next_page=x>; rel=next",
            "<\\\\evil.example/v2?next_page=x>; rel=next",
            "<https://user:word@ghcr.io/?next_page=x#part>; rel=next",
        ] {
            assert_eq!(next(&[value]), at("next_page=x"), "{value}");
        }
    }

    #[test]
    fn escapes_what_cannot_stand_in_a_link() {
        assert_eq!(next(&["<?last=a b\"c#d>; rel=next"]), at("last=a%20b%22c"));
        assert_eq!(next(&["<?last=ä>; rel=next"]), at("last=%C3%A4"));
    }

    #[test]
    fn tells_a_link_back_to_the_first_page() {
        for value in [
            "</v2/a/tags/list>; rel=next",
            "</v2/a/tags/list?>; rel=next",
            "</v2/a/tags/list?n=&last=>; rel=next",
            "<https://evil.example/v2/a/tags/list?ns=other.example>; rel=next",
        ] {
            assert_eq!(next(&[value]), NextPage::First, "{value}");
        }
    }

    #[test]
    fn reports_a_next_page_that_cannot_be_asked_for() {
        let long = format!("<?last={}>; rel=next", "x".repeat(8 * 1024));
        for value in [
            "</v2/b/tags/list>; rel=next",
            "</v2/b/tags/list?ns=other.example>; rel=next",
            "<http://?last=x>; rel=next",
            "<?last=%0d%0aX-Evil:1>; rel=next",
            &long,
        ] {
            assert_eq!(next(&[value]), NextPage::Unusable, "{value}");
        }
    }
}
