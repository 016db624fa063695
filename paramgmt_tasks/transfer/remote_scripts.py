"""The host's side of a transfer: scripts for /bin/sh, with tar and what hashes, as POSIX has them."""

from . import tar_writer

#: The beginning of the line that each script prints first.
READY = b"paramgmt-ready "
#: The line after which a script reads its input. What comes before is for startup files that read some.
BEGIN = "paramgmt"
#: Looks for what the host has, and says which of `$codecs` it chooses.
_TOOLS = """
LC_ALL=C; export LC_ALL
unset CDPATH TAR_OPTIONS
command -v tar >/dev/null || { echo 'paramgmt-ready without'; exit 0; }
sum=; for each in sha256sum 'shasum -a 256'; do command -v ${each%% *} >/dev/null && sum=$each && break; done
codec=; for each in $codecs; do command -v $each >/dev/null && codec=$each && break; done
echo "paramgmt-ready with $codec"
fast() {  # several times as fast, where the processor has instructions for it
  openssl dgst -sha256 -r /dev/null >/dev/null 2>&1 && sum='openssl dgst -sha256 -r'
}
"""

#: Arguments: codecs, the folder, the name in it that is the destination, the destination as it was given, and
#: 1 if it has to be a folder. If it is none, `as` is the name that the source gets there.
_DESTINATION = f"""
codecs=$1 into=$2 as=$3 shown=$4 several=$5
fail() {{ printf '%s\\n' "$1" >&2; exit 1; }}
refuse() {{  # to replace what is at $1, called $2
  if [ -d "$1" ]; then kind=folder
  elif [ -p "$1" ]; then kind='named pipe'
  elif [ -b "$1" ] || [ -c "$1" ]; then kind=device
  else kind=socket
  fi
  fail "${{2:-$1}}: is a $kind, which is not replaced"
}}
{_TOOLS}
while read -r line && [ "$line" != {BEGIN} ]; do :; done
umask 077
case $into in /*) ;; *) into=$PWD/$into ;; esac
case $into in */) ;; *) into=$into/ ;; esac
if [ -d "$into$as" ]; then into=$into$as/ as=
elif [ "$several" = 1 ]; then fail "$shown: no such folder on the host"
elif [ ! -d "$into" ]; then fail "$shown: no such file or directory"
elif [ -e "$into$as" ] && [ ! -f "$into$as" ]; then refuse "$into$as" "$shown"
fi
"""

#: Arguments: those, 1 to overwrite, 1 to verify or `fast` if no name needs escapes, more options of tar,
#: and 1 for a large stream.
PUSH = f"""
{_DESTINATION}
overwrite=$6 verify=$7 options=$8 large=$9
unpack() {{ tar -C "$stage" -x -p -o $options -f -; }}
# Records of 64 kB in place of 10 halve what a large stream costs the host; only GNU tar reads this.
[ "$large" = 0 ] || {{ TAR_OPTIONS='-b 128'; export TAR_OPTIONS; }}
stage=${{into}}.paramgmt-push-$(uname -n)-
for old in "$stage"*; do
  kill -0 "${{old##*-}}" 2>/dev/null || [ ! -e "$old" ] || rm -rf -- "$old"
done
stage=$stage$$
mkdir -- "$stage" || exit 1
near=
trap 'cd /; rm -rf -- "$stage"; [ -z "$near" ] || rm -f -- "$near"' EXIT
trap 'exit 1' HUP INT PIPE TERM
said=$(if [ -n "$codec" ]; then $codec -dc | unpack; else unpack; fi 2>&1) || {{
  df -Pk "$stage" | {{ read -r heads; read -r disk all used free rest; [ "$free" -gt 63 ]; }} ||
    printf '%s: No space left on device\\n' "$shown" >&2
  fail "$said"; }}
cd "$stage/{tar_writer.FILES}" && [ -f ../{tar_writer.FINISH} ] || fail 'the stream broke off'
[ -n "$sum" ] && [ -s ../{tar_writer.SUMS} ] || verify=0
if [ $verify = fast ]; then
  verify=1 slow=$sum
  if fast && find . -type f -exec $sum {{}} + >../found; then
    verify=0; sed 's/ \\*/  /' ../found | sort >../there
    sort ../{tar_writer.SUMS} | comm -23 - ../there >../checked
    sed 's/^[^ ]*  ..\\(.*\\)$/\\1: the checksum differs/' ../checked >&2
    [ ! -s ../checked ] || exit 1
  else sum=$slow
  fi
fi
if [ $verify = 1 ] && ! $sum -c ../{tar_writer.SUMS} >../checked 2>&1; then
  sed -n 's/^\\.\\/\\(.*\\): FAILED.*/\\1: the checksum differs/p' ../checked >&2; exit 1
fi
. ../{tar_writer.FINISH}
"""

#: Arguments: those of the destination. Gives the sums of the files whose names it is given.
KNOWN = f"""
{_DESTINATION}
fast
if [ -n "$as" ]; then echo name; else echo folder; fi
# Nothing but regular files is read: of others some never end.
regular='for each do [ -f "$each" ] || [ ! -e "$each" ] || odd=1; done
  [ $odd ] || exec $0 -- "$@"
  for each do [ ! -f "$each" ] || $0 -- "$each"; done'
[ -z "$sum" ] || {{ cd "$into" && odd= xargs -0 sh -c "$regular" "$sum" 2>/dev/null; }}
exit 0
"""

#: Arguments: codecs, 1 to verify, options of tar and of find, and the sources.
PULL = f"""
codecs=$1 verify=$2 options=$3 links=$4; shift 4
{_TOOLS}
bad=0
# Only GNU tar reads this: records of 64 kB, and no backslashes in names taken for escapes.
TAR_OPTIONS='--no-unquote -b 128'; export TAR_OPTIONS
each() {{
  work=$1; shift; IFS=
  for source do
    if [ -e "$source" ] || [ -L "$source" ]; then $work "$source"; continue; fi
    for path in $source; do
      if [ -e "$path" ] || [ -L "$path" ]; then $work "$path"
      elif [ $work = pack ]; then printf '%s: no such file\\n' "$source" >&2; bad=1
      fi
    done
  done
  unset IFS
}}
split() {{
  case $1 in
    */*) folder=${{1%/*}}/ name=./${{1##*/}} ;;
    *) folder=. name=./$1 ;;
  esac
  case $name in ./.) name=. ;; *) [ ! -L "$1" ] || [ ! -d "$1" ] || name=$name/. ;; esac
}}
pack() {{
  split "$1"
  deref=$options; [ ! -L "$1" ] || [ -d "$1" ] || deref=-h
  unset IFS; tar -C "$folder" -c $deref -f - "$name" || bad=1; IFS=
}}
check() {{
  split "$1"
  deref=$links; [ ! -L "$1" ] || [ -d "$1" ] || deref=-L
  unset IFS
  (
    cd "$folder" || exit 1
    [ -z "$(find $deref "$name" -type f -size +8000)" ] || fast
    find $deref "$name" -type f -exec $sum {{}} +
  ) || bad=1
  IFS=
}}
give() {{
  each pack "$@"
  if [ "$verify" = 1 ] && [ -n "$sum" ]; then
    printf 'paramgmt-sums\\n'
    each check "$@"
  else
    printf 'paramgmt-sums\\nnone\\n'
  fi
  echo "end $bad"
}}
if [ -n "$codec" ]; then give "$@" | $codec -c; else give "$@"; fi
exit $bad
"""
