// What only makes the pages more comfortable: everything works without this file.
"use strict";

// "/" goes to the search field, as in many tools.
document.addEventListener("keydown", (event) => {
  const field = document.querySelector("[data-focus-key='/']");
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || !field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

// A chosen status takes effect at once.
for (const select of document.querySelectorAll(".filters select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// Fields that were left empty do not lengthen the address.
for (const form of document.querySelectorAll(".filters")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) {
      if (field.name && !field.value) field.disabled = true;
    }
  });
}
// The back button finds them as they were.
window.addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll(".filters [name]")) field.disabled = false;
});

// Everything that is folded away, at once.
for (const place of document.querySelectorAll("[data-foldable]")) {
  const folded = place.querySelectorAll("details");
  if (folded.length === 0) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "unfold";
  button.textContent = "Unfold everything";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    for (const details of folded) details.open = open;
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Fold it again" : "Unfold everything";
  });
  place.before(button);
}
