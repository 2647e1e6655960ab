(function () {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const search = document.getElementById('search');
  const found = document.getElementById('found');
  const cards = all('.stage:not(.several)');
  const releases = all('.releases li');
  let texts; // what is searched, made at the first search
  let state = '';

  const lower = (text) => text.toLowerCase();

  function collect() {
    const images = new Map(releases.map((item) => [item.querySelector('a').getAttribute('href'), item.dataset.q]));
    const hrefs = (root) => all('a', root).map((a) => a.getAttribute('href'));
    texts = new Map();
    for (const card of cards) {
      const links = hrefs(card);
      texts.set(card, lower([card.closest('.pipeline').id, card.querySelector('h3').firstElementChild.textContent, card.dataset.q, ...links, ...links.map((l) => images.get(l) || '')].join(' ')));
    }
    for (const item of releases) {
      texts.set(item, lower([item.dataset.q, ...hrefs(item)].join(' ')));
    }
  }

  // What a search unfolded, the next one folds again.
  let unfolded = [];
  function unfold(details) {
    if (!details.open) {
      details.open = true;
      unfolded.push(details);
    }
  }

  // Every word must occur. In a graph the other stages stay, and fade.
  function apply() {
    if (!texts) {
      collect();
    }
    const words = lower(search.value).replaceAll('sha256:', '').split(/\s+/).filter(Boolean);
    const active = words.length > 0 || state !== '';
    const matches = (element) => words.every((word) => texts.get(element).includes(word));
    unfolded.forEach((details) => { details.open = false; });
    unfolded = [];
    let count = 0;
    const kept = new Set();
    for (const card of cards) {
      const match = matches(card) && (!state || card.classList.contains(state));
      const inList = card.closest('.cards');
      card.hidden = Boolean(inList) && !match;
      card.classList.toggle('dim', !inList && !match);
      if (match) {
        count++;
        if (active && !kept.has(card.closest('.pipeline')) && !inList) {
          const scroll = card.closest('.scroll');
          scroll.scrollLeft = card.parentElement.offsetLeft + card.offsetWidth - scroll.clientWidth;
        }
        kept.add(card.closest('.pipeline'));
        if (inList && active) {
          unfold(inList.parentElement);
        }
      }
    }
    for (const item of releases) {
      const match = words.length > 0 && !state && matches(item);
      item.hidden = words.length > 0 && !match;
      if (match) {
        unfold(item.closest('details'));
        kept.add(item.closest('.pipeline'));
      }
    }
    for (const pipeline of all('.pipeline')) {
      pipeline.hidden = active && !kept.has(pipeline);
    }
    found.textContent = active ? count + ' of ' + cards.length + ' stages' : '';
  }

  // Times are relative where a script runs, and whole in their titles.
  function tell() {
    const now = Date.now();
    for (const time of all('time')) {
      time.title = time.title || time.textContent;
      const minutes = Math.round((Date.parse(time.dateTime) - now) / 60000);
      const span = Math.abs(minutes);
      const text = span < 60 ? span + ' min' : span < 48 * 60 ? Math.floor(span / 60) + ' h ' + (span % 60) + ' min' : Math.floor(span / 1440) + ' days';
      time.textContent = minutes > 0 ? 'in ' + text : span < 1 ? 'now' : text + ' ago';
    }
  }

  function move(by) {
    const links = cards.filter((card) => card.checkVisibility({contentVisibilityAuto: false}) && !card.classList.contains('dim')).map((card) => card.querySelector('h3 a')).filter(Boolean);
    const at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by];
    if (next) {
      next.focus();
      next.scrollIntoView({block: 'nearest', inline: 'nearest'});
    }
  }

  search.addEventListener('input', apply);
  for (const button of all('.tally button')) {
    button.addEventListener('click', () => {
      state = state === button.dataset.state ? '' : button.dataset.state;
      for (const other of all('.tally button')) {
        other.setAttribute('aria-pressed', String(other.dataset.state === state));
      }
      apply();
    });
  }
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a');
    const target = link && link.hash && document.getElementById(link.hash.slice(1));
    if (target && target.tagName === 'DETAILS') {
      target.open = true;
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (event.key === 'j' || event.key === 'k') {
      move(event.key === 'j' ? 1 : -1);
    }
  });
  tell();
  setInterval(tell, 30000);
  search.value = new URLSearchParams(location.search).get('q') || search.value;
  if (search.value) {
    apply();
  }
})();
