//! Names on social networks.

/// What stands where a name does in links to social networks, and is none.
const PAGES: [&str; 60] = [
    "home",
    "channel",
    "c",
    "user",
    "u",
    "in",
    "company",
    "explore",
    "search",
    "login",
    "signup",
    "share",
    "sharer",
    "sharer.php",
    "intent",
    "hashtag",
    "help",
    "about",
    "privacy",
    "terms",
    "settings",
    "watch",
    "events",
    "groups",
    "pages",
    "p",
    "reel",
    "reels",
    "stories",
    "tv",
    "i",
    "features",
    "pricing",
    "topics",
    "trending",
    "marketplace",
    "sponsors",
    "orgs",
    "apps",
    "jobs",
    "policies",
    "legal",
    "download",
    "directory",
    "discover",
    "tag",
    "tags",
    "feed",
    "notifications",
    "messages",
    "joinchat",
    "dialog",
    "v1",
    "api",
    "docs",
    "blog",
    "developers",
    "business",
    "index.html",
    "en",
];

/// Whether a link ends with somebody's name: no page of the network itself, and no path that goes on, as that of a
/// repository does.
pub(super) fn profile(text: &str, start: usize, end: usize) -> bool {
    let link = text[start..end].trim_end_matches('/');
    let after = &text[end..];
    let goes_on = match after.strip_prefix('/') {
        Some(rest) => rest.starts_with(|c: char| c.is_alphanumeric()),
        // A shorter match than there is.
        None => {
            after.trim_start_matches(['-', '_', '%', '+', '.']).starts_with(|c: char| c.is_alphanumeric())
        }
    };
    let begins_inside = text[..start].ends_with(['.', '/', '@', '-', '_']);
    let link = link.split("/status/").next().unwrap_or(link);
    let link = link.split("/posts/").next().unwrap_or(link);
    let Some((before, name)) = link.rsplit_once(['/', '@', '=']) else { return false };
    let name = name.trim_start_matches(['@', '~', '$']).to_ascii_lowercase();
    let is_host = before.is_empty() || before.ends_with("https:/") || before.ends_with("http:/");
    let is_page = PAGES.contains(&name.as_str());
    !goes_on && !begins_inside && !is_host && !is_page && name.len() >= 2
}

/// Whether a name after that of a network is no word of a sentence and no number: it has a digit, or a `_`, with
/// letters.
pub(super) fn handle(text: &str) -> bool {
    let has = |is: fn(u8) -> bool| text.bytes().any(is);
    has(|b| b.is_ascii_alphabetic())
        && has(|b| b.is_ascii_digit() || b == b'_')
        && !text.ends_with(['.', '-'])
}

/// Whether `u/name` is no part of a path.
pub(super) fn reddit_user(text: &str, start: usize, _: usize) -> bool {
    let before = text[..start].strip_suffix('/').unwrap_or(&text[..start]);
    !before.ends_with(|c: char| c.is_alphanumeric() || "._-/~".contains(c))
}
