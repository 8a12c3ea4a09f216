//! A registry that hands out its own tokens and takes no others.

use std::collections::HashMap;

use serde_json::{Value, json};

/// The tokens that a registry demands.
#[derive(Debug, Clone)]
pub(crate) struct TokenRules {
    /// The scope in the challenge, where `{name}` stands for the repository; none if empty.
    pub(crate) challenged: &'static str,
    /// Scopes that a token must have been asked for.
    pub(crate) needed: &'static [&'static str],
    /// The answer that hands out a token.
    pub(crate) answer: fn(&str) -> Value,
    /// True if `/token` redirects to another path of this registry.
    pub(crate) is_moved: bool,
}

/// The tokens that a registry has handed out, with the scopes that they were asked for.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    rules: Option<TokenRules>,
    count: usize,
    good: HashMap<String, Vec<String>>,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            challenged: "repository:{name}:pull",
            needed: &["repository:{name}:pull"],
            answer: |token| json!({"token": token, "expires_in": 3600}),
            is_moved: false,
        }
    }
}

impl Tokens {
    pub(super) fn demand(&mut self, rules: TokenRules) {
        self.rules = Some(rules);
    }

    pub(super) fn withdraw(&mut self) {
        self.good.clear();
    }

    /// The answer to `GET /token`, if this registry hands out tokens: where it moved to, or a token.
    pub(super) fn hand_out(&mut self, path: &str, query: &str) -> Option<Result<Value, String>> {
        let rules = self.rules.clone()?;
        if rules.is_moved && path == "/token" {
            return Some(Err(format!("/moved/token?{query}")));
        }
        self.count += 1;
        let token = format!("token-{}", self.count);
        let scopes = url::form_urlencoded::parse(query.as_bytes())
            .filter(|(key, _)| key == "scope")
            .map(|(_, scope)| scope.into_owned());
        self.good.insert(token.clone(), scopes.collect());
        Some(Ok((rules.answer)(&token)))
    }

    /// The challenge for a request about `name` with this `Authorization`. `None` if it may pass.
    pub(super) fn challenge(&self, port: &str, name: &str, authorization: &str) -> Option<String> {
        let rules = self.rules.as_ref()?;
        let scopes = authorization
            .strip_prefix("Bearer ")
            .and_then(|token| self.good.get(token));
        let has = |needed: &&str| {
            let needed = needed.replace("{name}", name);
            scopes.is_some_and(|scopes| scopes.contains(&needed))
        };
        if scopes.is_some() && rules.needed.iter().all(has) {
            return None;
        }
        let mut challenge =
            format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"fake\"");
        if !rules.challenged.is_empty() {
            let scope = rules.challenged.replace("{name}", name);
            challenge.push_str(&format!(",scope=\"{scope}\""));
        }
        if !authorization.is_empty() {
            let error = if scopes.is_some() {
                "insufficient_scope"
            } else {
                "invalid_token"
            };
            challenge.push_str(&format!(",error=\"{error}\""));
        }
        Some(challenge)
    }
}
