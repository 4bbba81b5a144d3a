//! Who may call what on the test server: KES's rules. Deny wins, nothing is allowed by default, and a trailing `*`
//! matches any rest of a path.

/// Path patterns of one identity.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Allowed unless denied.
    pub allow: Vec<String>,
    /// Denied.
    pub deny: Vec<String>,
}

impl Policy {
    /// What the proxy needs for keys that start with `prefix`.
    pub fn proxy(prefix: &str) -> Self {
        let mut allow: Vec<String> = ["generate", "decrypt", "describe", "create"]
            .iter()
            .map(|verb| format!("/v1/key/{verb}/{prefix}*"))
            .collect();
        allow.extend(
            ["/v1/key/list/*", "/v1/status", "/v1/ready", "/v1/metrics", "/v1/api"].map(str::to_owned),
        );
        Self { allow, deny: Vec::new() }
    }

    pub(super) fn allows(&self, path: &str) -> bool {
        let any = |patterns: &[String]| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == pattern,
            })
        };
        !any(&self.deny) && any(&self.allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_nothing_is_allowed_by_default() {
        let policy = Policy {
            allow: vec!["/v1/key/generate/app-*".to_owned(), "/v1/status".to_owned()],
            deny: vec!["/v1/key/generate/app-secret*".to_owned()],
        };
        assert!(policy.allows("/v1/key/generate/app-1"));
        assert!(policy.allows("/v1/status"));
        assert!(!policy.allows("/v1/status2"));
        assert!(!policy.allows("/v1/key/generate/app-secret-1"));
        assert!(!policy.allows("/v1/key/decrypt/app-1"));
        assert!(!Policy::default().allows("/version"));
    }
}
