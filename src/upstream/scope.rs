//! The scopes that a token is asked for (distribution token specification, "Requesting a Token").

/// The most scopes of one token. Registries ask for one or two.
const SCOPES_MAX: usize = 16;

/// Words that name a right to change something, as an action or as a part of one (`metadata_write`, `content/delete`).
const WRITES: [&str; 7] = [
    "push", "delete", "write", "create", "update", "upload", "admin",
];

/// The scopes to ask for: pulling from `repository`, and everything that the challenge asks for except rights to
/// change something, because the challenge is a peer's text. Empty if there is neither.
pub(super) fn requested(challenged: Option<&str>, repository: &str) -> Vec<String> {
    let own = format!("repository:{repository}:");
    let words = challenged.unwrap_or_default().split_ascii_whitespace();
    let mut scopes: Vec<String> = words.filter_map(without_writes).take(SCOPES_MAX).collect();
    let has_own_pull = scopes.iter().any(|scope| {
        let actions = scope.strip_prefix(&own);
        actions.is_some_and(|actions| actions.split(',').any(|action| action == "pull"))
    });
    if !repository.is_empty() && !has_own_pull {
        scopes.insert(0, format!("{own}pull"));
    }
    union(&[], scopes)
}

/// `first` with those of `more` that it lacks, as long as a token may have so many; otherwise `more` alone.
pub(super) fn union(first: &[String], more: Vec<String>) -> Vec<String> {
    let mut all = first.to_vec();
    for scope in &more {
        if !all.contains(scope) {
            all.push(scope.clone());
        }
    }
    if all.len() > SCOPES_MAX + 1 {
        more
    } else {
        all
    }
}

/// The scope without rights to change something. `None` if no right remains.
fn without_writes(scope: &str) -> Option<String> {
    let Some((resource, actions)) = resource_and_actions(scope) else {
        return (!is_write(scope)).then(|| scope.to_owned());
    };
    let mut kept: Vec<&str> = Vec::new();
    for action in actions.split(',') {
        let action = match action {
            // All actions on a repository include pulling. The catalog is a list, which nobody can change.
            "*" if resource.starts_with("repository") => "pull",
            "*" if resource == "registry:catalog" => "*",
            "" | "*" => continue,
            action if is_write(action) => continue,
            action => action,
        };
        if !kept.contains(&action) {
            kept.push(action);
        }
    }
    (!kept.is_empty()).then(|| format!("{resource}:{}", kept.join(",")))
}

/// The parts of `type:name:actions`, where a type may have a class, as in `repository(plugin)`, and a name may contain
/// colons, as in `host:5000/name`. `None` for a scope of another form, such as a word or a URL.
fn resource_and_actions(scope: &str) -> Option<(&str, &str)> {
    let (resource, actions) = scope.rsplit_once(':')?;
    let (kind, name) = resource.split_once(':')?;
    let is_kind = kind
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || "()_-".contains(character));
    (is_kind && !kind.is_empty() && !name.is_empty() && !name.starts_with("//"))
        .then_some((resource, actions))
}

fn is_write(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .any(|word| WRITES.iter().any(|write| word.eq_ignore_ascii_case(write)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_pulling_where_the_challenge_names_nothing_else() {
        for challenged in [
            None,
            Some(""),
            Some("repository:a/b:pull"),
            Some("repository:a/b:push,pull"),
            Some("repository:a/b:*"),
            Some("repository:a/b:push"),
            Some("repository:a/b:delete,push repository:a/b:pull"),
            Some("repository:c/d:push repository:c/d:delete"),
            Some("registry:all:*"),
            Some("repository:a/b:"),
            Some("push"),
            Some("write:packages"),
        ] {
            assert_eq!(
                requested(challenged, "a/b"),
                ["repository:a/b:pull"],
                "{challenged:?}"
            );
        }
    }

    #[test]
    fn asks_for_what_the_challenge_demands_except_writing() {
        let own = "repository:a/b:pull";
        for (challenged, expected) in [
            (
                "repository:a/b:metadata_read",
                vec![own, "repository:a/b:metadata_read"],
            ),
            (
                "repository:a/b:metadata_read,pull",
                vec!["repository:a/b:metadata_read,pull"],
            ),
            (
                "repository:a/b:pull,push,metadata_write,metadata_read",
                vec!["repository:a/b:pull,metadata_read"],
            ),
            ("repository:x/a/b:pull", vec![own, "repository:x/a/b:pull"]),
            (
                "repository:host:5000/b:push,pull",
                vec![own, "repository:host:5000/b:pull"],
            ),
            ("repository:other:*", vec![own, "repository:other:pull"]),
            (
                "repository(plugin):a/b:pull,push",
                vec![own, "repository(plugin):a/b:pull"],
            ),
            ("registry:catalog:*", vec![own, "registry:catalog:*"]),
            ("aws", vec![own, "aws"]),
            ("openid  profile\topenid", vec![own, "openid", "profile"]),
            (
                "https://management.azure.com/.default",
                vec![own, "https://management.azure.com/.default"],
            ),
            (
                "https://a.example:8443/x:read",
                vec![own, "https://a.example:8443/x:read"],
            ),
            (
                "artifact:a/b:content/read,content/delete",
                vec![own, "artifact:a/b:content/read"],
            ),
        ] {
            assert_eq!(requested(Some(challenged), "a/b"), expected, "{challenged}");
        }
    }

    #[test]
    fn asks_for_nothing_of_its_own_without_a_repository() {
        assert!(requested(None, "").is_empty());
        assert_eq!(
            requested(Some("repository:x:pull,push"), ""),
            ["repository:x:pull"]
        );
    }

    #[test]
    fn number_of_scopes_has_a_limit() {
        let many = |prefix: &str| {
            (0..SCOPES_MAX)
                .map(|n| format!("{prefix}{n}"))
                .collect::<Vec<_>>()
        };
        let challenged = [many("x"), many("y")].concat().join(" ");
        assert_eq!(requested(Some(&challenged), "a/b").len(), SCOPES_MAX + 1);
        assert_eq!(union(&many("x"), many("y")), many("y"));
        let one = vec!["y".to_owned()];
        assert_eq!(union(&many("x"), one.clone()).len(), SCOPES_MAX + 1);
        assert_eq!(union(&one, one.clone()), one);
    }
}
