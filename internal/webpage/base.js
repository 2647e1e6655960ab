'use strict';
(function () {
  // A page on a file system may have no storage.
  const storage = (use) => {
    try {
      return use(localStorage);
    } catch {
      return null;
    }
  };
  const root = document.documentElement;
  const show = (theme) => theme ? root.setAttribute('data-theme', theme) : root.removeAttribute('data-theme');
  function toggle() {
    const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
    const next = (root.dataset.theme || system) === 'dark' ? 'light' : 'dark';
    show(next === system ? '' : next);
    storage((s) => next === system ? s.removeItem('theme') : s.setItem('theme', next));
  }
  show(storage((s) => s.getItem('theme')));
  document.getElementById('theme').addEventListener('click', toggle);

  const search = document.querySelector('input[type=search]');
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (event.target === search) {
      if (event.key === 'Escape') {
        search.value = '';
        search.dispatchEvent(new Event('input'));
        search.blur();
      }
      return;
    }
    if (event.key === '/' && search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
    if (event.key === 't') {
      toggle();
    }
  });
})();
