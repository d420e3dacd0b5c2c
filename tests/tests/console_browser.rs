//! The console in a real browser: every page, light and dark, and as wide as a phone, has a picture
//! taken of it, breaks no policy, says no error, is no wider than the window, and is readable.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::{fs, path::PathBuf};

use cofferdam_tests::{Place, browser::Browser, console::Scene};
use serde_json::{Value, json};

/// As `WCAG` counts: each text whose contrast with what is behind it is too low for its size.
const UNREADABLE: &str = r#"(() => {
  const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1 }; };
  const numbers = (c) => c.startsWith("color(srgb") ? (() => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0]*255, g: m[1]*255, b: m[2]*255, a: m.length > 3 ? m[3] : 1 }; })() : parse(c);
  const over = (top, under) => ({ r: top.r*top.a + under.r*(1-top.a), g: top.g*top.a + under.g*(1-top.a), b: top.b*top.a + under.b*(1-top.a), a: 1 });
  const light = ({ r, g, b }) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v/12.92 : ((v+0.055)/1.055)**2.4; }; return 0.2126*f(r) + 0.7152*f(g) + 0.0722*f(b); };
  const behind = (e) => { const all = []; for (let n = e; n; n = n.parentElement) all.push(numbers(getComputedStyle(n).backgroundColor)); return all.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 }); };
  const wrong = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest("title, .hidden, .skip")) continue;
    const style = getComputedStyle(e);
    const drawn = e.closest("svg");
    const ground = behind(drawn ? drawn.parentElement : e);
    const ink = over(numbers(drawn ? style.fill : style.color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    if ((a + 0.05) / (b + 0.05) < least) wrong.push(`${walk.currentNode.data.trim().slice(0, 40)}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return wrong;
})()"#;

/// What makes the page wider than the window. A phone makes the window larger then, so that what
/// it says of its own width means nothing.
const TOO_WIDE: &str = r#"((room) => {
  if (document.documentElement.scrollWidth <= room) return [];
  const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > room + 1 && !e.closest(".scroll, .sections ul, .tabs ul, pre"));
  return [`${document.documentElement.scrollWidth} of ${room}`, ...wide.map((e) => e.outerHTML.slice(0, 120))];
})"#;

/// Where pictures go, to be looked at.
fn pictures() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("console");
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn sign_in(browser: &mut Browser, scene: &Scene) -> String {
    let home = format!("http://{}", scene.served.address());
    browser.go(&format!("{home}/"));
    assert_eq!(browser.eval("location.pathname"), "/console/sign-in");
    let token = json!(scene.served.token).to_string();
    let fill = format!("document.getElementById('token').value = {token}");
    let _ = browser.eval(&fill);
    browser.leads("document.querySelector('main button').click()");
    assert_eq!(browser.eval("location.pathname"), "/console");
    assert_eq!(browser.eval("document.cookie"), "", "scripts do not see the session");
    home
}

/// Looks at the page that is shown in each of the ways that people have it.
fn look(browser: &mut Browser, name: &str) {
    for (way, width, height, scheme) in
        [("light", 1280, 900, "light"), ("dark", 1280, 900, "dark"), ("phone", 360, 740, "light")]
    {
        browser.looks(width, height, scheme);
        let wide = browser.eval(&format!("{TOO_WIDE}({width})"));
        assert_eq!(wide, json!([]), "{name} is wider than {width}");
        let unreadable = browser.eval(UNREADABLE);
        assert_eq!(unreadable, json!([]), "{name}, {way}: contrasts");
        let picture = browser.picture();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 5_000, "{name}");
        fs::write(pictures().join(format!("{name}-{way}.png")), picture).unwrap();
    }
    let faults = browser.faults();
    assert!(faults.is_empty(), "{name}: {faults:#?}");
}

#[test]
fn every_page_is_whole_in_a_real_browser() {
    let place = Place::new();
    let Some(mut browser) = Browser::start(&place) else {
        eprintln!("skipped: there is no `chromium` here; Debian's package of that name has it");
        return;
    };
    let scene = Scene::new(&place, &[]);
    browser.go(&format!("http://{}/console/sign-in", scene.served.address()));
    look(&mut browser, "sign-in");
    let home = sign_in(&mut browser, &scene);
    for (name, path) in scene.pages() {
        browser.go(&format!("{home}{path}"));
        let live = browser.eval("!!document.querySelector('[data-live]')");
        if live == Value::Bool(true) {
            browser.wait("document.getElementById('live-state').textContent === 'Up to date'");
        }
        look(&mut browser, name);
    }
}

#[test]
fn a_page_follows_its_job_and_leaves_alone_what_somebody_does() {
    let place = Place::new();
    let Some(mut browser) = Browser::start(&place) else {
        eprintln!("skipped: there is no `chromium` here; Debian's package of that name has it");
        return;
    };
    let scene = Scene::new(&place, &[]);
    let home = sign_in(&mut browser, &scene);
    browser.go(&format!("{home}/console/jobs/{}", scene.orders));
    let _ = browser.eval(
        "window.mark = true; document.querySelector('.action summary').click(); \
         document.getElementById('parallelism').value = 3; document.querySelector('.crumbs a').focus(); \
         window.before = document.getElementById('vertices').textContent",
    );
    browser.wait("document.getElementById('vertices').textContent !== window.before");
    browser.wait("/[0-9.]+ ?k?\\/s/.test(document.getElementById('graph').textContent)");
    assert_eq!(browser.eval("window.mark"), true, "it was not loaded again");
    assert_eq!(browser.eval("document.activeElement.textContent"), "Jobs");
    assert_eq!(browser.eval("document.querySelector('.action').open"), true);
    assert_eq!(browser.eval("document.getElementById('parallelism').value"), "3");
    look(&mut browser, "job-asking");

    // Rescaled from its form, as somebody does who was asked.
    browser.leads("document.querySelector('.action[open] form button').click()");
    let said = browser.eval("document.querySelector('.notice.good').textContent");
    assert_eq!(said, "The job goes on with another parallelism.");
    browser.wait("/×3/.test(document.getElementById('graph').textContent)");

    // What an operator makes of some records.
    browser.go(&format!("{home}/console/artifacts/crasher/1/try?tenant=acme"));
    let _ = browser.eval(
        "document.getElementById('lines').value = '{\"n\":1}\\n{\"n\":2}\\n{\"n\":3}'; \
         document.getElementById('settings').value = '{\"config\":{\"trap_at\":1}}'",
    );
    browser.leads("document.querySelector('main form button').click()");
    assert_eq!(browser.eval("document.getElementById('outcome').textContent"), "It failed.");
    look(&mut browser, "playground-crashed");
    browser.go(&format!("{home}/console/artifacts/count/2/try?tenant=acme"));
    let _ = browser.eval(
        "document.getElementById('lines').value = '{\"k\":\"a\"}\\n{\"k\":\"b\"}\\n{\"k\":\"a\"}'; \
         document.getElementById('key').value = 'k'",
    );
    browser.leads("document.querySelector('main form button').click()");
    assert_eq!(
        browser.eval("document.getElementById('outcome').textContent"),
        "It took all records."
    );
    look(&mut browser, "playground-tried");

    // What is dropped is taken, and what is wrong with it is said.
    browser.go(&format!("{home}/console/artifacts/new?tenant=acme"));
    let _ = browser.eval(
        "const dropped = new DataTransfer(); \
         dropped.items.add(new File([new Uint8Array([0, 97, 115, 109, 9, 9, 9, 9])], 'My Operator.wasm')); \
         document.querySelector('[data-drop]').dispatchEvent(new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true })); \
         document.getElementById('version').value = '1'",
    );
    assert_eq!(browser.eval("document.getElementById('name').value"), "my-operator");
    browser.leads("document.querySelector('main form button').click()");
    let refused = browser.eval("document.getElementById('refused').textContent");
    assert!(
        refused.as_str().unwrap().contains("It was not taken. The artifact is refused"),
        "{refused}"
    );
    // The browser's own word that the answer was 422, and nothing else.
    let faults = browser.faults();
    assert!(faults.iter().all(|fault| fault.contains("422")), "{faults:#?}");
    look(&mut browser, "upload-refused");
}
