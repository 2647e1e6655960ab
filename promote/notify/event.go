package notify

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// EventType is the CloudEvents type of what is sent.
const EventType = "dev.lockage.promoted.v1"

// Repaired is the action of an event that follows no new record: the tag did not name what is live, and names it again.
const Repaired = "repaired"

// layoutPrefix begins the names of repositories that are folders.
const layoutPrefix = "oci-layout:"

// Event is what a stage's tag names now.
type Event struct {
	Pipeline    string        `json:"pipeline"`
	Stage       string        `json:"stage"`
	Release     string        `json:"release"`
	Action      string        `json:"action"` // of the record, or Repaired
	From        digest.Digest `json:"from,omitempty"`
	FromRelease string        `json:"fromRelease,omitempty"`
	To          digest.Digest `json:"to"`
	Repository  string        `json:"repository"`
	Reference   string        `json:"reference"` // repository:tag
	Remote      string        `json:"remote,omitempty"`
	Branch      string        `json:"branch"` // the live ref
	Commit      string        `json:"commit"` // on it
	Record      digest.Digest `json:"record"`

	time time.Time
}

// About returns the event of a promotion that is live. Repaired is the time at which the tag was put right; zero for a new promotion.
func About(s live.Stage, p live.Promotion, repaired time.Time) Event {
	e := Event{
		Pipeline:   s.Pipeline,
		Stage:      s.Stage,
		Release:    p.To.Release,
		Action:     string(p.Action),
		To:         p.To.Digest,
		Repository: s.Artifacts.Name(),
		Reference:  s.Artifacts.Reference(s.Stage),
		Remote:     s.Remote.Written(),
		Branch:     s.Place.Branch,
		Commit:     p.Commit,
		Record:     p.Record,
		time:       cmp.Or(repaired, p.Time).UTC().Truncate(time.Second),
	}
	if !repaired.IsZero() {
		e.Action = Repaired
	} else if p.From != nil && p.Action != predicate.Carried {
		e.From, e.FromRelease = p.From.Digest, p.From.Release
	}
	return e
}

// id returns what tells an event from others of its source: a consumer takes two with one id for one.
func (e Event) id() string {
	if e.Action == Repaired {
		return fmt.Sprintf("%s.%d", e.Record, e.time.Unix())
	}
	return string(e.Record)
}

// message is the body of a call, with its headers.
type message struct {
	header http.Header
	body   []byte
	exact  bool // 200 alone says that it was taken
}

// messages returns what a receiver is sent.
func (e Event) messages(r pipeline.Receiver, secret string) ([]message, error) {
	kind, _ := r.Address()
	if kind == "argocd" {
		return e.pushes(secret)
	}
	body, err := json.Marshal(map[string]any{
		"specversion":     "1.0",
		"id":              e.id(),
		"source":          e.source(),
		"type":            EventType,
		"subject":         e.Pipeline + "/" + e.Stage,
		"time":            e.time.Format(time.RFC3339),
		"datacontenttype": "application/json",
		"data":            e,
	})
	m := message{http.Header{"Content-Type": {"application/cloudevents+json"}}, body, kind == "flux"}
	m.sign("X-Signature", secret)
	return []message{m}, err
}

// source returns where the event happened, as a URI.
func (e Event) source() string {
	if strings.HasPrefix(e.Repository, layoutPrefix) {
		return "/" + e.Pipeline
	}
	return "oci://" + e.Repository
}

// pushes returns the events of GitHub after which Argo CD compares the Applications whose source is the stage's tag or its live ref.
func (e Event) pushes(secret string) (pushes []message, err error) {
	add := func(page, ref, commit string) {
		if page == "" || err != nil {
			return
		}
		m := message{header: http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"push"}}}
		m.body, err = json.Marshal(map[string]any{
			"ref": ref, "after": commit, "commits": []any{},
			"repository": map[string]any{"html_url": page, "default_branch": ""},
		})
		m.sign("X-Hub-Signature-256", secret)
		pushes = append(pushes, m)
	}
	add(ociPage(e.Repository), "refs/tags/"+e.Stage, "")
	add(gitPage(e.Remote), "refs/heads/"+e.Branch, e.Commit)
	return pushes, err
}

// sign adds the HMAC of the body in a header, unless there is no secret.
func (m message) sign(header, secret string) {
	if secret == "" {
		return
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(m.body)
	m.header.Set(header, "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

// ociPage returns the page of a repository from which Argo CD makes an expression that matches oci://REPOSITORY: it takes the host of
// the page, one of «:» and «/», and the path behind its first slash.
func ociPage(repository string) string {
	if strings.HasPrefix(repository, layoutPrefix) {
		return ""
	}
	return "https://oci///" + repository
}

// gitPage returns the web page of a Git remote, by its host and path, from which Argo CD makes an expression that matches all its
// addresses; "" for a folder.
func gitPage(remote string) string {
	if !strings.Contains(remote, "://") {
		host, path, ok := strings.Cut(remote, ":")
		if !ok || strings.Contains(host, "/") {
			return ""
		}
		remote = "ssh://" + host + "/" + path
	}
	u, err := url.Parse(remote)
	if err != nil || u.Hostname() == "" || u.Scheme == "file" {
		return ""
	}
	return "https://" + u.Hostname() + "/" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
}
