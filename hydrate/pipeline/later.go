package pipeline

import (
	"strings"

	"github.com/lockage/lockage/internal/strictyaml"
)

// laterKey is a key, in the pipeline or in a stage, that is read and checked
// but not acted on yet. With a value, only that value is refused.
type laterKey struct{ key, value string }

// laterKeys is the list of them: implementing one is deleting its line.
func laterKeys() []laterKey {
	return []laterKey{
		{"sign.hydrator.keyless", ""},
		{"sign.promoter.keyless", ""},
	}
}

// refuse reports every use of the key in a pipeline's document.
func (k laterKey) refuse(doc *strictyaml.Node, c *checker) {
	k.refuseIn(doc, c)
	if stages := doc.Get("stages"); stages != nil {
		for _, stage := range stages.Items {
			k.refuseIn(stage, c)
		}
	}
}

func (k laterKey) refuseIn(n *strictyaml.Node, c *checker) {
	last := k.key
	if dot := strings.LastIndexByte(k.key, '.'); dot >= 0 {
		last = k.key[dot+1:]
		for _, parent := range strings.Split(k.key[:dot], ".") {
			n = n.Get(parent)
		}
	}
	if n == nil {
		return
	}
	for _, e := range n.Entries {
		if e.Key != last || e.Value.IsNull() {
			continue
		}
		switch {
		case k.value == "":
			c.add(e.KeyPos, "%s is not supported yet: remove it", k.key)
		case strings.EqualFold(e.Value.Value, k.value):
			c.add(e.KeyPos, "%s: %s is not supported yet: remove it", k.key, k.value)
		}
	}
}
