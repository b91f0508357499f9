/**
 * The page's one script: the search shows what it finds while its words are typed. It asks for the page of the search and
 * puts its content in the place of what is shown; without it, the form does the same with a button.
 */
import { createHash } from 'node:crypto';

export const script = `
{
const form=document.getElementById('search');
const found=document.getElementById('found');
let turn=0,timer;
const show=async()=>{
const mine=++turn;
const words=form.elements.q.value.trim();
const to=words===''?'/':'/?q='+encodeURIComponent(words);
try{
const answer=await fetch(to);
if(!answer.ok)return;
const page=new DOMParser().parseFromString(await answer.text(),'text/html');
if(mine!==turn)return;
document.querySelector('main').replaceWith(page.querySelector('main'));
found.textContent=page.getElementById('found').textContent;
history.replaceState(null,'',to);
}catch{}
};
form.addEventListener('input',()=>{clearTimeout(timer);timer=setTimeout(show,200)});
form.addEventListener('submit',(event)=>{event.preventDefault();clearTimeout(timer);void show()});
}
`;

/** For the page's policy, which allows this script and no other. */
export const scriptHash: string = createHash('sha256').update(script).digest('base64');
