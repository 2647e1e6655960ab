package pipeline

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/internal/strictyaml"
)

// Receiver is called once a stage's tag moved: exactly one of Flux, ArgoCD and URL is its address, or the variable that holds it.
type Receiver struct {
	Flux    string            `yaml:"flux" jsonschema_description:"The URL of a Receiver of Flux, or env://NAME. With secret it is of type generic-hmac."`
	ArgoCD  string            `yaml:"argocd" jsonschema_description:"The URL of Argo CD's webhook, https://HOST/api/webhook, or env://NAME."`
	URL     string            `yaml:"url" jsonschema_description:"Any URL, or env://NAME: it gets a CloudEvent."`
	Secret  string            `yaml:"secret" jsonschema_description:"The variable with the secret that signs the body (HMAC-SHA256), env://NAME."`
	Headers map[string]string `yaml:"headers" jsonschema_description:"Further headers for url; env://NAME for one that is secret."`
}

// Address returns the kind of a receiver, the key that holds its address, and that address.
func (r Receiver) Address() (kind, address string) {
	switch {
	case r.Flux != "":
		return "flux", r.Flux
	case r.ArgoCD != "":
		return "argocd", r.ArgoCD
	}
	return "url", r.URL
}

var (
	variable   = regexp.MustCompile(`^env://[A-Za-z_][A-Za-z0-9_]*$`)
	headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
)

// reserved are headers that the event itself has.
var reserved = []string{"Content-Length", "Content-Type", "Host", "Transfer-Encoding", "User-Agent", "X-Signature"}

// secretHeaders are headers whose value nobody commits.
var secretHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization"}

// checkNotify checks the receivers of an expanded stage.
func (e effective) checkNotify(c *checker) {
	for i, r := range e.Notify {
		at := e.doc.At("notify", i)
		addresses := 0
		for _, address := range []string{r.Flux, r.ArgoCD, r.URL} {
			if address != "" {
				addresses++
			}
		}
		if addresses != 1 {
			c.add(at.Pos, "notify: write exactly one of flux, argocd and url")
			continue
		}
		kind, _ := r.Address()
		c.secretRule(e.doc.Find("notify", i, kind), receiverURL, "notify."+kind)
		c.secretRule(e.doc.Find("notify", i, "secret"), inVariable, "notify.secret")
		if len(r.Headers) > 0 && kind != "url" {
			c.add(e.doc.At("notify", i, "headers").Pos, "notify.headers: %s has its own: remove them", kind)
		}
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			value := e.doc.At("notify", i, "headers", name)
			canonical := http.CanonicalHeaderKey(name)
			switch {
			case !headerName.MatchString(name):
				c.add(value.Pos, "notify.headers: %q is not the name of a header", name)
			case slices.Contains(reserved, canonical):
				c.add(value.Pos, "notify.headers: %s is set by lockage: remove it", canonical)
			case slices.Contains(secretHeaders, canonical):
				c.secretRule(value, inVariable, "notify.headers."+canonical)
			default:
				c.secretRule(value, headerValue, "notify.headers."+canonical)
			}
		}
	}
}

// secretRule is rule for a string that may be a secret: its problem does not repeat it.
func (c *checker) secretRule(n *strictyaml.Node, r rule, name string) {
	if !n.IsString() || c.unexpanded[n.Pos] {
		return
	}
	if msg := r(n.Value); msg != "" {
		c.add(n.Pos, "%s %s", name, msg)
	}
}

// inVariable is the rule for secrets.
func inVariable(value string) string {
	if variable.MatchString(value) {
		return ""
	}
	return "is a secret, which does not belong in Git: write env://NAME, and put it into that variable"
}

// headerValue is the rule for values of headers.
func headerValue(value string) string {
	switch {
	case strings.HasPrefix(value, "env://"):
		return inVariable(value)
	case strings.ContainsAny(value, "\r\n\x00"):
		return "has more than one line"
	}
	return ""
}

// receiverURL is the rule for the address of a receiver.
func receiverURL(value string) string {
	if strings.HasPrefix(value, "env://") {
		return inVariable(value)
	}
	_, fault := ReceiverURL(value)
	return fault
}

// ReceiverURL parses the address of a receiver, and describes its fault, without repeating it; "" for none. It is https, or plain
// HTTP to this machine, and has no user: what is sent may be secret, and so may the address.
func ReceiverURL(address string) (u *url.URL, fault string) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, "is not a URL: write one like https://flux.example.com/hook/…"
	case u.User != nil:
		return nil, "holds a user or password, which do not belong in Git: write url and headers: {Authorization: env://NAME}"
	case u.Scheme == "http" && !loopback.Is(u.Host):
		return nil, "is plain HTTP to another machine, which others can read: write https"
	}
	return u, ""
}
