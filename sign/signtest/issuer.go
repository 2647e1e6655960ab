package signtest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
)

// login serves the issuer's side of a sign-in. The code of one is the nonce that its token has to name.
func (s *Sigstore) login(mux *http.ServeMux) {
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": s.URL, "jwks_uri": s.URL + "/keys", "authorization_endpoint": s.URL + "/auth", "token_endpoint": s.URL + "/token",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"ES256"}, "code_challenge_methods_supported": []string{"S256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		encode := base64.RawURLEncoding.EncodeToString
		point, err := s.rootKey.PublicKey.Bytes()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, map[string]any{"keys": []any{map[string]any{
			"kty": "EC", "kid": "k", "use": "sig", "alg": "ES256", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:]),
		}}})
	})
	mux.HandleFunc("GET /auth", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		back, err := url.Parse(query.Get("redirect_uri"))
		if err != nil || back.Scheme != "http" || back.Hostname() != "localhost" { // a page shows the code
			_, _ = w.Write([]byte(query.Get("nonce")))
			return
		}
		back.RawQuery = url.Values{"code": {query.Get("nonce")}, "state": {query.Get("state")}}.Encode()
		http.Redirect(w, r, back.String(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		who := s.who
		s.mu.Unlock()
		if who == "" || r.FormValue("client_id") == "" && r.Header.Get("Authorization") == "" {
			http.Error(w, "nobody signs in", http.StatusForbidden)
			return
		}
		answer(w, map[string]any{"access_token": "unused", "token_type": "Bearer", "id_token": s.token(who, r.FormValue("code"))})
	})
}
