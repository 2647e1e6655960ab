package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// hermetic are OPA's capabilities without every built-in function whose result depends on more than its arguments. OPA
// marks most of them itself; the others are named here with what they read.
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
		}
		return b.IsNondeterministic() || strings.HasPrefix(b.Name, "http.") || strings.HasPrefix(b.Name, "net.")
	})
	caps.AllowNet = []string{} // no host, for the schemas of annotations
	return caps
}
