(function () {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const objects = all('.object');
  const links = new Map(all('nav .file').map((item) => [item.querySelector('a').hash.slice(1), item]));
  const filter = document.getElementById('filter');
  const shown = document.getElementById('shown');

  // Every word must occur.
  function apply() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const object of objects) {
      const match = words.every((word) => object.dataset.search.includes(word));
      object.hidden = !match;
      links.get(object.id).hidden = !match;
      count += match ? 1 : 0;
    }
    for (const folder of all('nav .folder')) {
      folder.hidden = !folder.querySelector('.file:not([hidden])');
    }
    shown.textContent = words.length ? count + ' of ' + objects.length : '';
  }

  function setOpen(open) {
    for (const object of objects) {
      if (!object.hidden) {
        object.open = open;
      }
    }
  }

  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.classList.contains('object')) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView();
    }
  }

  filter.addEventListener('input', apply);
  document.getElementById('expand').addEventListener('click', () => setOpen(true));
  document.getElementById('collapse').addEventListener('click', () => setOpen(false));
  window.addEventListener('hashchange', reveal);
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a');
    if (link && link.hash === location.hash) {
      reveal(); // there again: no change of the hash
    }
  });
  reveal();
})();
