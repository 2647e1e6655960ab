package quirks

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// switches returns all quirks by name.
func switches() map[string]quirk {
	return map[string]quirk{
		"basic":              {auth: func(a *auth) { a.basic = true }},
		"bearer":             {auth: func(a *auth) { a.bearer = true }},
		"negotiate":          {auth: func(a *auth) { a.negotiate, a.basic = true, true }},
		"hides-from-unknown": {auth: func(a *auth) { a.hides, a.basic = true, true }},
		"one-request-tokens": {auth: func(a *auth) { a.bearer, a.uses = true, 1 }},
		"uploads-end-tokens": {auth: func(a *auth) { a.bearer, a.uploads = true, true }},
		"failing-tokens":     {auth: func(a *auth) { a.bearer, a.failing = true, true }},
		"slow-tokens":        {auth: func(a *auth) { a.bearer, a.slow = true, true }},

		"no-digest":       {after: (*Registry).noDigest},
		"no-length":       {after: (*Registry).noLength},
		"no-head":         {before: refuseHead(http.StatusMethodNotAllowed)},
		"head-denied":     {before: refuseHead(http.StatusForbidden)},
		"absent-denied":   {after: (*Registry).absentDenied},
		"busy":            {front: (*Registry).busy},
		"small-pages":     {before: (*Registry).smallPages},
		"thin-pages":      {after: (*Registry).thinPages},
		"no-referrers":    {before: refuseReferrers(http.StatusNotFound)},
		"referrers-deny":  {before: refuseReferrers(http.StatusForbidden)},
		"referrers-401":   {before: refuseReferrers(http.StatusUnauthorized)},
		"referrers-pages": {before: (*Registry).referrersPage},
		"no-deletes":      {before: (*Registry).noDeletes},
		"immutable-tags":  {before: (*Registry).immutable},
		"frozen-tags":     {before: (*Registry).frozen, refuses: true},
		"lost-uploads":    {before: (*Registry).loseUploads},
		"separate-upload": {before: (*Registry).separateUpload},
		"no-mounts":       {before: (*Registry).noMounts},
		"slow-blobs":      {before: (*Registry).slowBlobs},
		"blobs-moved":     {before: (*Registry).moveBlobs},
		"breaks-off":      {after: (*Registry).breakOff},
		"ends-early":      {after: (*Registry).endEarly},
		"gzip-label":      {after: (*Registry).labelGzip},
		"compressed":      {after: (*Registry).compress},
		"empty-heads":     {after: (*Registry).emptyHeads},
		"plain-referrers": {after: (*Registry).plainReferrers},
		"writes-moved":    {front: (*Registry).moveWrites},
		"uploads-moved":   {after: (*Registry).moveUploads},
		"uploads-leave":   {before: (*Registry).redirectUploads},
		"signed-uploads":  {before: (*Registry).unsigned, after: (*Registry).signUploads},
		"slow-clock":      {after: (*Registry).slowClock},
		"no-bundles":      {before: (*Registry).noBundles, refuses: true},
		"proxied-http":    {after: (*Registry).proxied},
	}
}

// noDigest leaves out what the specification only recommends.
func (q *Registry) noDigest(_ *http.Request, answer *httptest.ResponseRecorder) {
	answer.Header().Del("Docker-Content-Digest")
}

// noLength sends in chunks, as proxies do that compress.
func (q *Registry) noLength(r *http.Request, answer *httptest.ResponseRecorder) {
	if r.Method == http.MethodHead || answer.Code == http.StatusOK {
		answer.Header().Del("Content-Length")
		answer.Header().Set("Transfer-Encoding", "chunked")
	}
}

func refuseHead(status int) func(*Registry, http.ResponseWriter, *http.Request) bool {
	return func(_ *Registry, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead {
			return false
		}
		w.WriteHeader(status)
		return true
	}
}

// absentDenied answers 403 for manifests that do not exist, as Artifactory does.
func (q *Registry) absentDenied(r *http.Request, answer *httptest.ResponseRecorder) {
	if about(r, "manifests") && answer.Code == http.StatusNotFound && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		replace(answer, http.StatusForbidden, "UNAUTHORIZED", "The client does not have permission for manifest")
	}
}

func (q *Registry) busy(w http.ResponseWriter, _ *http.Request) bool {
	if !q.every(9, "requests") {
		return false
	}
	w.Header().Set("Retry-After", "0")
	return fail(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")
}

// smallPages refuses long pages instead of sending shorter ones.
func (q *Registry) smallPages(w http.ResponseWriter, r *http.Request) bool {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	return n > 50 && path.Base(r.URL.Path) == "list" && fail(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
}

// thinPages sends two tags a page, and names the next one by an address that only a proxy knows.
func (q *Registry) thinPages(r *http.Request, answer *httptest.ResponseRecorder) {
	if path.Base(r.URL.Path) != "list" || answer.Code != http.StatusOK {
		return
	}
	const size = 2
	all := httptest.NewRecorder()
	whole := r.Clone(r.Context())
	whole.URL.RawQuery = url.Values{"last": r.URL.Query()["last"]}.Encode()
	q.next.ServeHTTP(all, whole)
	var list struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}
	if json.Unmarshal(all.Body.Bytes(), &list) != nil || len(list.Tags) <= size {
		return
	}
	slices.Sort(list.Tags)
	list.Tags = list.Tags[:size]
	answer.Body.Reset()
	_ = json.NewEncoder(answer.Body).Encode(list)
	answer.Header().Del("Content-Length")
	answer.Header().Set("Link", fmt.Sprintf(`<http://inner.example:8080%s?last=%s>; rel="next"`, r.URL.Path, list.Tags[size-1]))
}

func refuseReferrers(status int) func(*Registry, http.ResponseWriter, *http.Request) bool {
	return func(_ *Registry, w http.ResponseWriter, r *http.Request) bool {
		return about(r, "referrers") && fail(w, status, "DENIED", "no such route")
	}
}

// referrersPage sends one referrer a page.
func (q *Registry) referrersPage(w http.ResponseWriter, r *http.Request) bool {
	if !about(r, "referrers") {
		return false
	}
	all := httptest.NewRecorder()
	q.next.ServeHTTP(all, r)
	var index map[string]json.RawMessage
	var manifests []json.RawMessage
	if all.Code != http.StatusOK || json.Unmarshal(all.Body.Bytes(), &index) != nil || json.Unmarshal(index["manifests"], &manifests) != nil {
		return false
	}
	at, _ := strconv.Atoi(r.URL.Query().Get("page"))
	query := r.URL.Query()
	if at+1 < len(manifests) {
		query.Set("page", strconv.Itoa(at+1))
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel=next`, r.URL.Path, query.Encode()))
	}
	if at < len(manifests) {
		manifests = manifests[at : at+1]
	}
	index["manifests"], _ = json.Marshal(manifests)
	w.Header().Set("Content-Type", all.Header().Get("Content-Type")+"; charset=utf-8")
	_ = json.NewEncoder(w).Encode(index)
	return true
}

func (q *Registry) noDeletes(w http.ResponseWriter, r *http.Request) bool {
	return r.Method == http.MethodDelete && fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "deletes are disabled")
}

// immutable refuses to write the tag of a hydration that exists, even if nothing would change: it has the rules that docs/artifact.md advises.
func (q *Registry) immutable(w http.ResponseWriter, r *http.Request) bool {
	matches := func(pattern string) bool {
		ok, _ := path.Match(pattern, path.Base(r.URL.Path))
		return ok
	}
	return slices.ContainsFunc([]string{"*.img-sha256-*.*", "*.chart-sha256-*.*", "*.git-*.*"}, matches) && q.rewrites(r) &&
		fail(w, http.StatusBadRequest, "TAG_INVALID", "the tag exists, and this repository has a rule that makes it immutable")
}

// frozen refuses to write any tag that exists, but those of referrers.
func (q *Registry) frozen(w http.ResponseWriter, r *http.Request) bool {
	return !strings.HasPrefix(path.Base(r.URL.Path), "sha256") && q.rewrites(r) && fail(w, http.StatusConflict, "DENIED", "tags of this repository are immutable")
}

// rewrites reports whether a request writes a manifest where there is one.
func (q *Registry) rewrites(r *http.Request) bool {
	if r.Method != http.MethodPut || !about(r, "manifests") {
		return false
	}
	look, there := httptest.NewRequestWithContext(r.Context(), http.MethodHead, r.URL.Path, nil), httptest.NewRecorder()
	// Registries may answer 404 to a request that accepts none of the media types that they have.
	look.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")
	q.next.ServeHTTP(there, look)
	return there.Code == http.StatusOK
}

// loseUploads forgets the first upload of each blob.
func (q *Registry) loseUploads(w http.ResponseWriter, r *http.Request) bool {
	beginOnly(r)
	return r.Method == http.MethodPut && about(r, "uploads") && q.first("upload "+r.URL.Query().Get("digest")) && fail(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "no such upload")
}

// beginOnly makes a request begin an upload, whatever comes with it.
func beginOnly(r *http.Request) {
	if r.Method == http.MethodPost && about(r, "uploads") {
		r.URL.RawQuery = ""
	}
}

// separateUpload takes a blob in a request of its own only, as `docker push` sends it.
func (q *Registry) separateUpload(w http.ResponseWriter, r *http.Request) bool {
	beginOnly(r)
	return r.Method == http.MethodPut && about(r, "uploads") && r.ContentLength > 0 && fail(w, http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "send the blob by PATCH")
}

// noMounts begins an upload in the place of mounting a blob, as the specification allows.
func (q *Registry) noMounts(_ http.ResponseWriter, r *http.Request) bool {
	if q.fires("no-mounts", r.Method == http.MethodPost && r.URL.Query().Has("mount")) {
		beginOnly(r)
	}
	return false
}

// slowBlobs does not find the blobs of a manifest when it comes first, as a storage does whose parts learn of each other later.
func (q *Registry) slowBlobs(w http.ResponseWriter, r *http.Request) bool {
	return r.Method == http.MethodPut && about(r, "manifests") && q.first("blobs of "+manifest(r)) &&
		fail(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
}

// manifest returns the manifest that a request writes.
func manifest(r *http.Request) string {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// moveBlobs redirects to the storage.
func (q *Registry) moveBlobs(w http.ResponseWriter, r *http.Request) bool {
	if q.options.Storage == "" || r.Method != http.MethodGet || !about(r, "blobs") {
		return false
	}
	w.Header().Set("Location", scheme(r)+"://"+q.options.Storage+r.URL.Path+"?signature=secret")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}

// labelGzip calls a blob compressed in transit, as a storage of files does by the file's type.
func (q *Registry) labelGzip(r *http.Request, answer *httptest.ResponseRecorder) {
	if r.Method == http.MethodGet && about(r, "blobs") {
		answer.Header().Set("Content-Encoding", "gzip")
	}
}

// breakOff sends half of each blob and manifest when it is first read.
func (q *Registry) breakOff(r *http.Request, answer *httptest.ResponseRecorder) {
	if size := answer.Body.Len(); q.halves(r, answer) {
		answer.Header().Set("Content-Length", strconv.Itoa(size))
	}
}

// endEarly sends half of each blob and manifest when it is first read, in chunks, as if that were all.
func (q *Registry) endEarly(r *http.Request, answer *httptest.ResponseRecorder) {
	if q.halves(r, answer) {
		q.noLength(r, answer)
	}
}

func (q *Registry) halves(r *http.Request, answer *httptest.ResponseRecorder) bool {
	size := answer.Body.Len()
	if size < 2 || r.Method != http.MethodGet || !about(r, "blobs") && !about(r, "manifests") || !q.first("half of "+r.URL.Path) {
		return false
	}
	answer.Body.Truncate(size / 2)
	return true
}

// compress sends manifests and lists in an encoding that nobody asked for.
func (q *Registry) compress(r *http.Request, answer *httptest.ResponseRecorder) {
	if r.Method != http.MethodGet || answer.Code != http.StatusOK || about(r, "blobs") || answer.Header().Get("Content-Encoding") != "" {
		return
	}
	content := slices.Clone(answer.Body.Bytes())
	answer.Body.Reset()
	w := gzip.NewWriter(answer.Body)
	_, _ = w.Write(content)
	_ = w.Close()
	answer.Header().Set("Content-Encoding", "gzip")
	answer.Header().Del("Content-Length")
}

// emptyHeads sends the length of what a HEAD is answered with, and not of the manifest, as some proxies do.
func (q *Registry) emptyHeads(r *http.Request, answer *httptest.ResponseRecorder) {
	if r.Method == http.MethodHead && answer.Code == http.StatusOK {
		answer.Header().Set("Content-Length", "0")
	}
}

// plainReferrers calls a list of referrers what every other list is.
func (q *Registry) plainReferrers(r *http.Request, answer *httptest.ResponseRecorder) {
	if about(r, "referrers") && answer.Code == http.StatusOK {
		answer.Header().Set("Content-Type", "application/json")
	}
}

// moveWrites redirects what is written and deleted with a status after which browsers would only read.
func (q *Registry) moveWrites(w http.ResponseWriter, r *http.Request) bool {
	const moved = "moved=1"
	if r.Method == http.MethodGet || r.Method == http.MethodHead || strings.Contains(r.URL.RawQuery, moved) || r.URL.Path == "/token" {
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Location", r.URL.EscapedPath()+"?"+strings.TrimPrefix(r.URL.RawQuery+"&"+moved, "&"))
	w.WriteHeader(http.StatusMovedPermanently)
	return true
}

// moveUploads lets uploads go on at the storage.
func (q *Registry) moveUploads(r *http.Request, answer *httptest.ResponseRecorder) {
	location, err := url.Parse(answer.Header().Get("Location"))
	if q.options.Storage == "" || answer.Code != http.StatusAccepted || err != nil {
		return
	}
	location.Scheme, location.Host = scheme(r), q.options.Storage
	answer.Header().Set("Location", location.String())
}

// redirectUploads has uploads begin at the storage, which names their locations without its host.
func (q *Registry) redirectUploads(w http.ResponseWriter, r *http.Request) bool {
	if q.options.Storage == "" || !about(r, "uploads") {
		return false
	}
	if r.Method != http.MethodPost {
		return fail(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "no such upload")
	}
	w.Header().Set("Location", scheme(r)+"://"+q.options.Storage+r.URL.Path)
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}

// signature is in the query of an upload's location, in an encoding that no client would choose.
const signature = "signature=a%2fb;c+d%20e"

// signUploads signs the locations of uploads.
func (q *Registry) signUploads(_ *http.Request, answer *httptest.ResponseRecorder) {
	if location := answer.Header().Get("Location"); answer.Code == http.StatusAccepted && location != "" {
		separator := "?"
		if strings.Contains(location, "?") {
			separator = "&"
		}
		answer.Header().Set("Location", location+separator+signature)
	}
}

// unsigned refuses all other locations. A blob is sent to one, and not in the request that begins an upload.
func (q *Registry) unsigned(w http.ResponseWriter, r *http.Request) bool {
	if !about(r, "uploads") {
		return false
	}
	beginOnly(r)
	return r.Method != http.MethodPost && !strings.Contains(r.URL.RawQuery, signature) && fail(w, http.StatusForbidden, "DENIED", "the signature does not match")
}

// proxied names locations as a registry does that knows nothing of the TLS before it, and its host in other letters.
func (q *Registry) proxied(r *http.Request, answer *httptest.ResponseRecorder) {
	location, err := url.Parse(answer.Header().Get("Location"))
	if answer.Code != http.StatusAccepted || err != nil || location.Host == q.options.Storage && location.Host != "" {
		return
	}
	location.Scheme, location.Host = "HTTP", strings.ToUpper(r.Host)
	answer.Header().Set("Location", location.String())
}

// scheme returns that of a request to this server: plain HTTP on loopback.
func scheme(r *http.Request) string {
	if strings.HasPrefix(r.Host, "127.") || strings.HasPrefix(r.Host, "localhost") {
		return "http"
	}
	return "https"
}

// slowClock dates answers as a machine does whose clock is behind.
func (q *Registry) slowClock(_ *http.Request, answer *httptest.ResponseRecorder) {
	answer.Header().Set("Date", "Sun, 22 Mar 2020 12:00:00 GMT")
}

// noBundles refuses manifests with an artifact type.
func (q *Registry) noBundles(w http.ResponseWriter, r *http.Request) bool {
	return r.Method == http.MethodPut && about(r, "manifests") && strings.Contains(manifest(r), `"artifactType"`) &&
		fail(w, http.StatusBadRequest, "MANIFEST_INVALID", "unknown media type")
}
