// Fills every <select data-options="people"> from its list.
for (const select of document.querySelectorAll("select[data-options]")) {
  fetch(`/api/dropdown/${select.dataset.options}/`)
    .then((answer) => answer.json())
    .then(({ options }) => options.forEach(({ id, label }) => select.add(new Option(label, id))));
}
