#!/bin/sh
# Makes the pictures of the documentation: the board, the page of a release, and the diff of a promotion, as Chromium shows them.
# Usage: make.sh LOCKAGE OUT, with git, crane and chromium in the PATH. Needs port 5000 of the loopback interface.
set -eu
lockage=$1 out=$(cd "$2" && pwd) examples=$(cd "$(dirname "$0")/../../examples" && pwd)
work=$(mktemp -d)
export HOME="$work" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL="$work/gitconfig" COSIGN_PASSWORD=
registry=localhost:5000
"$lockage" registry serve --addr 127.0.0.1:5000 --dir "$work/registry" >"$work/registry.log" 2>&1 &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT

git config --global init.defaultBranch main
git config --global user.name "Ada Example"
git config --global user.email ada@example.com
git config --global "url.file://$work/remote/.insteadOf" https://github.com/acme/
git init -q --bare "$work/remote/shop.git"
git init -q --bare "$work/remote/shop-gitops.git"

# release records a commit of the application, with an image.
release() {
	git add . && git commit -q -m "$1" && git push -q https://github.com/acme/shop.git HEAD:main
	tar cf "$work/layer.tar" .
	crane append --oci-empty-base -f "$work/layer.tar" -t "$registry/acme/shop:git-$(git rev-parse HEAD)" >"$work/crane.log" 2>&1
}
cp -r "$examples/helm/source" "$work/shop" && cd "$work/shop" && git init -q
release "The shop opens"

git clone -q https://github.com/acme/shop-gitops.git "$work/shop-gitops" 2>"$work/clone.log" && cd "$work/shop-gitops"
"$lockage" init --source https://github.com/acme/shop.git --artifacts "$registry/acme/shop-manifests" \
	--image "$registry/acme/shop:git-$(git -C ../shop rev-parse HEAD)" --stages staging,test,load,production >"$work/log"
"$lockage" keys generate "$work/.lockage/sre" >"$work/log" && cp "$work/.lockage/sre.pub" keys/
sed -i '/^stages:/,$d; s|^identities:|&\n  sre: {key: keys/sre.pub}|' lockage.yaml
cat >>lockage.yaml <<STAGES
stages:
  - {name: staging, auto: true}
  - {name: test, auto: true, after: [staging]}
  - {name: load, auto: true, after: [staging]}
  - name: production
    after: {all: [test, load]}
    gates:
      - soak: {stage: test, for: 2h}
      - approval: {by: [sre]}
STAGES
git add . && git commit -q -m "Release the shop" && git push -q origin HEAD
HYDRATOR_KEY=$(cat "$work/.lockage/shop-gitops/hydrator.key") PROMOTER_KEY=$(cat "$work/.lockage/shop-gitops/promoter.key")
export HYDRATOR_KEY PROMOTER_KEY
sed -i 's/for: 2h/for: 1s/' lockage.yaml && git commit -q -a -m "Soak shortly" && git push -q
"$lockage" up --no-discover >"$work/log"
sleep 2
"$lockage" approve production --key "$work/.lockage/sre.key" >"$work/log"
"$lockage" promote production >"$work/log"
git revert --no-edit HEAD >"$work/log" && git push -q

cd ../shop
sed -i 's/replicas: .*/replicas: 3/' deploy/chart/values.yaml
cat >deploy/chart/templates/role.yaml <<ROLE
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: {{ .Release.Name }}-reader}
rules:
  - {apiGroups: [""], resources: [configmaps, secrets], verbs: [get, list]}
ROLE
release "Read the settings from the cluster"
cd ../shop-gitops
"$lockage" up >"$work/log"
git pull -q
"$lockage" status --html "$work/site" >"$work/log"

# picture NAME WIDTH HEIGHT PAGE
picture() {
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/chromium" --window-size="$2,$3" \
		--screenshot="$out/$1.png" "file://$4" >"$work/chromium.log" 2>&1
}
page=$(ls -t "$work"/site/shop/*.production.html)
picture board 940 520 "$work/site/index.html"
picture release 1180 610 "${page%.production.html}.html"
picture diff 1180 640 "$page"
