// Keeps a page up to date, and takes files that are dropped. Every page works without it.
"use strict";
(() => {
  const EVERY = 1500;
  const live = () => document.querySelectorAll("[data-live]");

  // Makes `old` look like `fresh`, and touches only what differs: what has the focus keeps it,
  // what was opened stays open, what was typed stays there.
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      const stays = name === "open" && old.nodeName === "DETAILS";
      if (!stays && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(old.nodeName)) return;
    const next = [...fresh.childNodes];
    while (old.childNodes.length > next.length) old.lastChild.remove();
    next.forEach((child, at) => {
      const known = old.childNodes[at];
      if (!known) old.append(document.importNode(child, true));
      else if (known.id && child.id && known.id !== child.id) known.replaceWith(document.importNode(child, true));
      else morph(known, child);
    });
  }

  const state = document.getElementById("live-state");
  const pause = document.getElementById("pause");
  let paused = false;
  let failures = 0;
  const say = (text) => { if (state && state.textContent !== text) state.textContent = text; };

  async function look() {
    const answer = await fetch(location.href, { headers: { "x-fragment": "1" }, credentials: "same-origin" });
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of live()) {
      const found = fresh.getElementById(part.id);
      // Nothing moves under somebody's hands.
      if (found && !part.querySelector("details[open] form :focus")) morph(part, found);
    }
  }

  async function follow() {
    if (!paused && document.visibilityState === "visible") {
      try {
        await look();
        failures = 0;
        say("Up to date");
      } catch {
        failures += 1;
        say(failures > 2 ? "No answer from the server; trying again" : "Updating");
      }
    }
    setTimeout(follow, EVERY * Math.min(1 + failures, 10));
  }

  if (live().length) {
    document.getElementById("live").hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      say(paused ? "Paused" : "Updating");
    });
    setTimeout(follow, EVERY);
  }

  // Where one is stays in sight, also on a phone.
  for (const here of document.querySelectorAll("nav [aria-current]")) {
    const row = here.closest("ul");
    row.scrollLeft = here.offsetLeft - row.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
  }

  // A drawing that is wider than its place begins in its middle.
  for (const drawing of document.querySelectorAll(".drawing")) {
    drawing.scrollLeft = (drawing.scrollWidth - drawing.clientWidth) / 2;
  }

  // A file that is dropped on the page's place for it is as good as one that was chosen.
  const drop = document.querySelector("[data-drop]");
  if (drop) {
    const input = drop.querySelector("input[type=file]");
    const inside = (event, over) => { event.preventDefault(); drop.classList.toggle("over", over); };
    drop.addEventListener("dragover", (event) => inside(event, true));
    drop.addEventListener("dragleave", (event) => inside(event, false));
    drop.addEventListener("drop", (event) => {
      inside(event, false);
      if (event.dataTransfer.files.length) {
        input.files = event.dataTransfer.files;
        input.dispatchEvent(new Event("change"));
      }
    });
    input.addEventListener("change", async () => {
      const file = input.files[0];
      if (!file) return;
      const name = document.getElementById("name");
      if (name && !name.value) name.value = file.name.replace(/\.wasm$/, "").toLowerCase().replace(/[^a-z0-9_.-]+/g, "-");
      const into = drop.dataset.drop && document.getElementById(drop.dataset.drop);
      if (into) { into.value = await file.text(); into.focus(); }
    });
  }

  // A text to be copied once, such as a new token.
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy).textContent;
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
      catch { button.textContent = "Select it and copy it yourself"; }
    });
  }
})();
