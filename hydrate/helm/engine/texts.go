package engine

import (
	"sync"
	"text/template/parse"
)

// maxTextBytes bounds the texts whose trees are kept; a tree takes some ten times as much.
const maxTextBytes = 4 << 20

// texts keeps what was parsed of texts given to tpl: stages have most of them in common. The zero texts is ready; it is
// safe for concurrent use.
type texts struct {
	mu    sync.Mutex
	trees map[string]map[string]*parse.Tree
	size  int
}

// get returns the trees of a text.
func (t *texts) get(text string, parser func(name, text string) (map[string]*parse.Tree, error)) (map[string]*parse.Tree, error) {
	t.mu.Lock()
	trees, known := t.trees[text]
	t.mu.Unlock()
	if known {
		return trees, nil
	}
	trees, err := parser(rootName, text)
	if err != nil || len(text) > maxTextBytes/16 {
		return trees, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.size += len(text); t.trees == nil || t.size > maxTextBytes {
		t.trees, t.size = map[string]map[string]*parse.Tree{}, len(text)
	}
	t.trees[text] = trees
	return trees, nil
}
