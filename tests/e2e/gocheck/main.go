// Reads a running node with Go's own transparency log packages, golang.org/x/mod/sumdb/{note,tlog}: nothing of ours is trusted.
//
//	gocheck <base url> <certificate.pem> <server name> <log vkey> <old checkpoint or ->
//
// It opens the checkpoint with the log's verifier key, takes every entry bundle and hash tile through tlog's tile reader, proves
// each entry's inclusion, and that the log extends the older checkpoint. The newest checkpoint goes to standard output.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type node struct {
	base   string
	client *http.Client
	tiles  map[string][]byte // each is fetched once
}

func (n *node) get(path string) []byte {
	answer, err := n.client.Get(n.base + "/" + path)
	if err != nil {
		log.Fatalf("%s: %v", path, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s %v %s", path, answer.Status, err, body)
	}
	return body
}

func (n *node) Height() int { return height }

// ReadTiles translates tlog's names, tile/8/L/N, to those of c2sp.org/tlog-tiles, tile/L/N.
func (n *node) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := tile.Path()
		if n.tiles[path] == nil {
			n.tiles[path] = n.get("tile/" + strings.TrimPrefix(path, "tile/8/"))
		}
		found = append(found, n.tiles[path])
	}
	return found, nil
}

func (n *node) SaveTiles([]tlog.Tile, [][]byte) {}

func parse(text string) tlog.Tree {
	lines := strings.Split(text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		log.Fatalf("size %q: %v", lines[1], err)
	}
	var root tlog.Hash
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(raw) != tlog.HashSize {
		log.Fatalf("root %q: %v", lines[2], err)
	}
	copy(root[:], raw)
	return tlog.Tree{N: size, Hash: root}
}

func open(data []byte, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		log.Fatalf("vkey: %v", err)
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		log.Fatalf("checkpoint: %v", err)
	}
	return parse(opened.Text)
}

func (n *node) entries(size int64) []tlog.Hash {
	var hashes []tlog.Hash
	for first := int64(0); first < size; first += 1 << height {
		width := size - first
		if width > 1<<height {
			width = 1 << height
		}
		tile := tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)}
		name := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		bundle := n.get(name)
		for len(bundle) > 0 {
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			hashes = append(hashes, tlog.RecordHash(bundle[2:length]))
			bundle = bundle[length:]
		}
	}
	if int64(len(hashes)) != size {
		log.Fatalf("%d entries in the bundles, the checkpoint has %d", len(hashes), size)
	}
	return hashes
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 6 {
		log.Fatal("usage: gocheck <base url> <certificate.pem> <server name> <log vkey> <old checkpoint or ->")
	}
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatalf("%s: no certificate", os.Args[2])
	}
	tlsConfig := &tls.Config{RootCAs: roots, ServerName: os.Args[3]}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig}}
	n := &node{base: os.Args[1], client: client, tiles: map[string][]byte{}}

	checkpoint := n.get("checkpoint")
	tree := open(checkpoint, os.Args[4])
	reader := tlog.TileHashReader(tree, n)
	for index, hash := range n.entries(tree.N) {
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		if err == nil {
			err = tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), hash)
		}
		if err != nil {
			log.Fatalf("entry %d: %v", index, err)
		}
	}
	if os.Args[5] != "-" {
		data, err := os.ReadFile(os.Args[5])
		if err != nil {
			log.Fatal(err)
		}
		old := open(data, os.Args[4])
		proof, err := tlog.ProveTree(tree.N, old.N, reader)
		if err == nil {
			err = tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
		}
		if err != nil {
			log.Fatalf("%d does not extend %d: %v", tree.N, old.N, err)
		}
	}
	fmt.Fprintf(os.Stderr, "%d entries, %d tiles\n", tree.N, len(n.tiles))
	os.Stdout.Write(checkpoint)
}
