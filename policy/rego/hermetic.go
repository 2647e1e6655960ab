package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// hermetic returns OPA's capabilities without the built-in functions whose result depends on more than their arguments, or whose work
// on more than the size of these. OPA marks most of the former itself; the others are named here with the reason.
func hermetic() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(b *ast.Builtin) bool {
		switch b.Name {
		case "time.now_ns", "opa.runtime", "rand.intn", "uuid.rfc4122":
			return true
		case "crypto.x509.parse_and_verify_certificates", "crypto.x509.parse_and_verify_certificates_with_options":
			return true // the clock, for a certificate's validity
		case "json.match_schema", "json.verify_schema":
			return true // files and URLs that a schema's $ref names
		case "strings.render_template":
			return true // loops in a template, in each other
		case "graph.reachable_paths":
			return true // as many paths as there are ways through a graph
		case "bits.lsh":
			return true // a number of as many bits as its argument says
		}
		return b.IsNondeterministic() || strings.HasPrefix(b.Name, "http.") || strings.HasPrefix(b.Name, "net.")
	})
	caps.AllowNet = []string{} // no host, for the schemas of annotations
	return caps
}
